"""Axes to draw on, and what stands beside every drawing: a legend in numbers, a note in small print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from enodo.show.pixels import strong_against
from enodo.show.scale import Array, Scale, counted, number


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes on a Figure of their own, `size` in inches; made without pyplot, so that no global state is touched."""
    return Figure(figsize=size, layout="constrained").subplots()


def titled(ax: Axes, title: str) -> None:
    """A title, if there is one, in which a dollar sign is a dollar sign."""
    if title:
        ax.set_title(title, parse_math=False, fontsize=10)


def under(ax: Axes, note: str, drop: float = 4) -> None:
    """A note in small print, `drop` points below the axes, in lines as wide as they are."""
    if note:
        figure: Any = ax.figure
        wide = ax.get_position().width * figure.get_size_inches()[0]
        ax.annotate(
            "\n".join(textwrap.wrap(note, max(24, int(wide * 18)))), (0, 0), (0, -drop), "axes fraction",
            "offset points", va="top", fontsize=7, color="0.25", parse_math=False, annotation_clip=False,
        )  # fmt: skip


def legend_bar(
    axes: Axes | Sequence[Axes],
    scale: Scale,
    sign: str,
    colours: Any,
    unit: str,
    *,
    strength: bool = False,
    shrink: float = 1.0,
) -> None:
    """The strip of colours with numbers beside `axes`, for the signs that are shown; `strength`: for sizes only."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    span = scale.limit or 1.0
    strength = strength or sign == "absolute"
    sign = "absolute" if strength or not scale.signed else sign
    low, high, extend, label = {
        "all": (-span, span, "both", both_ways(unit)),
        "positive": (0.0, span, "max", f"{unit}, for \u2192"),
        "negative": (-span, 0.0, "min", f"\u2190 against, {unit}"),
        "absolute": (0.0, span, "max", f"size in {unit}" if strength else unit),
    }[sign]
    if sign in ("positive", "negative"):  # half of the colours is in use
        part = np.linspace(0.5, 1.0, 128) if sign == "positive" else np.linspace(0.0, 0.5, 128)
        colours = LinearSegmentedColormap.from_list("half", colours(part))
    first: Any = axes if isinstance(axes, Axes) else axes[0]
    bar: Any = first.figure.colorbar(
        ScalarMappable(Normalize(low, high), colours), ax=axes, fraction=0.046, pad=0.03, shrink=shrink,
        extend=extend if scale.clipped or scale.infinite else "neither",
    )  # fmt: skip
    bar.ax.tick_params(labelsize=8)
    bar.locator.set_params(nbins=6)
    bar.set_label(label, fontsize=8)


def both_ways(unit: str) -> str:
    """The label of a scale whose two ends mean for and against, or just more and less than nothing."""
    low, high = ("negative", "positive") if unit.startswith("activation") else ("against", "for")
    return f"{low}  \u2190  {unit}  \u2192  {high}"


def told(scale: Scale, values: Array, sign: str = "all", coloured: bool = True) -> str:
    """What a reader must know about the colours: that nothing is there to see, that some are clipped, or no numbers."""
    notes = []
    if scale.nans:
        drawn = f", drawn in {'yellow' if scale.signed else 'pink'}" if coloured else ""
        notes.append(f"Of {values.size:,}, {counted(scale.nans, 'value')} not a number{drawn}.")
    if scale.infinite:
        notes.append(f"{counted(scale.infinite, 'value')} infinite and drawn at full colour.")
    if scale.peak == 0 and not notes:
        if sign in ("positive", "negative") and np.any(values != 0):
            return f"No value is {sign}: nothing to show for this sign."
        return "Every value is zero: nothing here moved this score."
    if scale.clipped:
        notes.append(
            f"Colours are full at {number(scale.limit, False)}; the strongest value is {number(scale.peak, False)}."
        )
    return " ".join(notes)


def minus_signs(ax: Axes, values: Array, scale: Scale, extent: tuple[float, float, float, float]) -> None:
    """Minus signs on the cells that speak against: see `strong_against`."""
    height, width = values.shape
    for i, j, dark in strong_against(values, scale):
        x = extent[0] + (j + 0.5) * (extent[1] - extent[0]) / width
        y = extent[3] + (i + 0.5) * (extent[2] - extent[3]) / height
        ax.text(
            x, y, "\u2212", color="white" if dark else "black", fontsize=9, ha="center", va="center", weight="bold",
        )  # fmt: skip
