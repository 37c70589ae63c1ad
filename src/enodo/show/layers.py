"""Inside a layer: its strongest channels (or the slices of a volume) as small maps on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.show.pixels import coarse
from enodo.show.scale import Array, chosen, colour_map, number, paint, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 12  # channels drawn
INSIDE = "PuOr_r"  # of what a layer computed: other colours than for and against
TILE = 256  # pixels along a side of a drawn channel
GAP, HEAD = 0.08, 0.2  # between channels, and above them for their number, as shares of their width


@dataclass(frozen=True)
class Channels:
    """Attributions (C, h, w) of the channels of a layer, and what the layer computed there (C, h, w), if known."""

    values: Array
    data: Array | None = None
    name: str = "channel"


def strongest(values: Array, count: int) -> Array:
    """Channels by the summed size of their values, the strongest first."""
    size = np.where(np.isfinite(values), np.abs(values), 0).sum((1, 2))
    return np.argsort(-size, kind="stable")[:count]


def layout(view: Channels, shown: int) -> tuple[int, int]:
    """Lines and columns of the grid; with the activations, each line of attributions has one of activations above."""
    count = min(shown, len(view.values))
    columns = min(count, 6 if view.data is None else 8)
    return -(-count // columns), columns


def size_of(view: Channels, shown: int = SHOWN) -> tuple[float, float]:
    """Inches of a drawing."""
    lines, columns = layout(view, shown)
    ratio = view.values.shape[1] / view.values.shape[2]
    high = lines * (1 if view.data is None else 2) * 1.2 * (min(max(ratio, 0.3), 3) + HEAD)
    return 1.2 * columns + 1.6, max(3.2, high + 0.9)


def draw(
    view: Channels,
    ax: Axes,
    *,
    shown: int = SHOWN,
    sign: str = "all",
    clip: float = 0.02,
    signed: bool = True,
    limit: float | None = None,
    colours: Any = None,
    unit: str = "attribution",
    title: str = "",
) -> None:
    """Draw the `shown` strongest channels with their numbers and totals; activations, where known, above them."""
    from enodo.show.axes import legend_bar, titled, told, under

    if shown < 1:
        refuse("shown", str(shown), "a number from 1")
    every = view.name == "slice"
    order = np.arange(len(view.values))[:shown] if every else strongest(view.values, shown)
    lines, columns = layout(view, shown)
    values = chosen(view.values[order], sign)
    signed = signed and sign != "absolute"
    scale = scale_of(values, clip, signed, limit)
    height = min(max(view.values.shape[1] / view.values.shape[2], 0.3), 3)
    inner = None if view.data is None else view.data[order]
    pitch = (height + HEAD) * (1 if inner is None else 2)
    seen = None if inner is None else scale_of(inner, clip, bool((inner < 0).any()))
    for k, channel in enumerate(order):
        x, y = (k % columns) * (1 + GAP), (k // columns) * pitch
        total = number(float(view.values[channel].sum()), signed)
        ax.text(x, y + HEAD * 0.8, f"{channel}:  {total}", fontsize=7, va="bottom")
        if seen is not None and inner is not None:
            _tile(ax, paint(coarse(inner[k], TILE)[0], seen, INSIDE if seen.signed else None), x, y + HEAD, height)
            y += height + HEAD * 0.3
        _tile(ax, paint(coarse(values[k], TILE)[0], scale, colours), x, y + HEAD, height)
    ax.set_xlim(-0.02, columns * (1 + GAP))
    ax.set_ylim(lines * pitch + 0.05, -0.02)
    ax.set_aspect("equal")
    ax.set_axis_off()
    legend_bar(ax, scale, sign, colour_map(colours, signed), f"{unit} per place", shrink=0.8)
    titled(ax, title)
    notes = [told(scale, values, sign)]
    if len(order) < len(view.values):
        notes.append(f"{'The first' if every else 'The'} {len(order)} {'' if every else 'strongest '}of "
                     f"{len(view.values):,} {view.name}s.")  # fmt: skip
    notes.append(f"Above each: its number and {'sum' if signed else 'total'} over {_places(view.values)} places.")
    if seen is not None:
        notes.append(f"Above: what it computed, full colour at {number(seen.limit, False)}; below: its attribution.")
    under(ax, " ".join(filter(None, notes)))


def _places(values: Array) -> str:
    return f"{values.shape[2]} \u00d7 {values.shape[1]}"


def _tile(ax: Axes, drawn: Array, x: float, y: float, height: float) -> None:
    ax.imshow(drawn, extent=(x, x + 1, y + height, y), interpolation="nearest")
    ax.plot([x, x + 1, x + 1, x, x], [y, y, y + height, y + height, y], color="0.7", linewidth=0.5)
