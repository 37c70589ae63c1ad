"""Time series: attributions behind each channel, behind all of them, or as the colour of the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import nearest, refuse
from enodo.show.pixels import array_of
from enodo.show.scale import AGAINST, FOR, Array, Scale, chosen, colour_map, number, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("individual", "combined", "line")
STEPS = 2000  # time steps drawn; of longer series, means of attributions and the range of the data
PANELS = 12  # channels drawn one below the other: the strongest
BAND = 0.05  # height of the bands that show the sign, as a share of the panel


@dataclass(frozen=True)
class Series:
    """Attributions (C, T) of C channels at T times; `data` (C, T) or None, `times` (T,) rising, `names` of channels."""

    values: Array
    data: Array | None
    names: list[str]
    times: Array


def panels_of(view: Series, kind: str) -> int:
    """How many axes a drawing takes."""
    return 1 if kind == "combined" else min(len(view.values), PANELS)


def size_of(view: Series, kind: str) -> tuple[float, float]:
    """Inches of a drawing."""
    count = panels_of(view, kind)
    return 7.2, 1.6 + (2.2 if count == 1 else 1.15 * count)


def draw(
    view: Series,
    axes: Sequence[Axes],
    *,
    kind: str = "individual",
    sign: str = "all",
    clip: float = 0.02,
    signed: bool = True,
    limit: float | None = None,
    opacity: float = 0.75,
    colours: Any = None,
    times: Any = None,
    unit: str = "attribution",
    title: str = "",
) -> None:
    """Draw on `panels_of` axes, one below the other, with a legend beside them.

    kind  "individual" (a panel a channel), "combined" (one panel, attributions summed over channels), "line" (a panel a
          channel, the line itself coloured); positive values also show as a band at the top, negative at the bottom
    times (T,) rising: when each step was, if not at 0, 1, 2 ...
    """
    from enodo.show.axes import legend_bar, titled, under

    if kind not in KINDS:
        refuse("kind", repr(kind), f"one of {', '.join(map(repr, KINDS))}", nearest(str(kind), KINDS))
    view = view if times is None else replace(view, times=_rising(times, view.values.shape[1]))
    values = view.values.sum(0, keepdims=True) if kind == "combined" else view.values
    strength = np.nansum(np.abs(np.where(np.isfinite(values), values, 0)), axis=1)
    order = np.sort(np.argsort(-strength, kind="stable")[: len(axes)])
    values = chosen(values[order], sign)
    signed = signed and sign != "absolute"
    block = -(-values.shape[1] // STEPS)
    values = blocks(values, block)
    scale = scale_of(values, clip, signed, limit)
    edges = edges_of(view.times)[::block]
    edges = np.append(edges[: values.shape[1]], edges_of(view.times)[-1])
    coded = _line_map(colours, signed) if kind == "line" else colour_map(colours, signed)
    lines = range(len(view.values)) if kind == "combined" else order
    for i, ax in enumerate(axes):
        drawn = list(lines) if kind == "combined" else [lines[i]]
        line_colours = _line_colours(len(drawn)) if kind == "combined" else ["0.15"]
        low, high = _range(view, drawn)
        if kind != "line":
            _background(ax, values[i], edges, (low, high), scale, coded, opacity)
        for j, colour in zip(drawn, line_colours, strict=False):
            _line(ax, view, j, block, colour, values[i] if kind == "line" else None, scale, coded)
        _bands(ax, values[i], edges, scale)
        ax.set_ylim(low, high)
        ax.set_xlim(edges[0], edges[-1])
        ax.tick_params(labelsize=7, labelbottom=i == len(axes) - 1)
        if view.data is None:
            ax.set_yticks([])
        if kind != "combined":
            ax.set_ylabel(view.names[drawn[0]], fontsize=8, parse_math=False)
    if kind == "combined" and view.data is not None and len(view.values) > 1:
        for text in axes[0].legend(fontsize=7, loc="upper right", ncols=2).get_texts():
            text.set_parse_math(False)
    titled(axes[0], title)
    legend_bar(axes, scale, sign, coded, f"{unit} per step")
    under(axes[-1], _note(view, scale, len(order), block, sign, kind), drop=16)


def _rising(times: Any, steps: int) -> Array:
    found = array_of(times, "times").astype(np.float64).ravel()
    if len(found) != steps or not (np.diff(found) > 0).all():
        refuse("times", f"{len(found)} numbers", f"{steps} rising ones, one for each step")
    return found


def blocks(values: Array, block: int) -> Array:
    """(C, T) as means over `block` steps each."""
    if block == 1:
        return values
    starts = np.arange(0, values.shape[1], block)
    counts = np.diff(starts, append=values.shape[1])
    return np.asarray(np.add.reduceat(values, starts, axis=1) / counts)


def edges_of(times: Array) -> Array:
    """(T + 1,) bounds of steps: halfway between their times."""
    if len(times) == 1:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[times[0] * 1.5 - times[1] / 2], middle, [times[-1] * 1.5 - times[-2] / 2]])


def _range(view: Series, rows: Sequence[int]) -> tuple[float, float]:
    """What the axis of a panel holds: the data, or nothing but the attributions' strip, with room for the bands."""
    data = np.zeros(1) if view.data is None else view.data[list(rows)]
    finite = data[np.isfinite(data)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    room = (high - low) * 0.12 or 1.0
    return low - room, high + room


def _background(
    ax: Axes, values: Array, edges: Array, span: tuple[float, float], scale: Scale, colours: Any, opacity: float
) -> None:
    from matplotlib.colors import Normalize

    share = scale.share(values)[None]
    norm = Normalize(-1 if scale.signed else 0, 1)
    ax.pcolormesh(edges, span, share, cmap=colours, norm=norm, alpha=opacity, linewidth=0, rasterized=True)


def _bands(ax: Axes, values: Array, edges: Array, scale: Scale) -> None:
    """Dark where values are of some strength: at the top for positive ones, at the bottom for negative ones."""
    if not scale.signed or scale.limit == 0:
        return
    share = np.nan_to_num(scale.share(values))
    across: Any = ax.get_xaxis_transform()
    for strong, low in ((share > 0.1, 1 - BAND), (share < -0.1, 0.0)):
        change = np.flatnonzero(np.diff(np.concatenate([[False], strong, [False]])))  # where runs begin and end
        runs = [(edges[i], edges[j] - edges[i]) for i, j in change.reshape(-1, 2)]
        ax.broken_barh(runs, (low, BAND), transform=across, color="0.1", linewidth=0)


def _line(
    ax: Axes, view: Series, channel: int, block: int, colour: Any, values: Array | None, scale: Scale, colours: Any
) -> None:
    """The data of a channel; its colour by attributions where those are given."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    if view.data is None:
        return
    data, times = view.data[channel], view.times
    if block > 1:  # the lowest and the highest value of each block, so that no peak is lost
        starts = np.arange(0, len(data), block)
        low, high = np.fmin.reduceat(data, starts), np.fmax.reduceat(data, starts)
        data, times = np.stack([low, high], 1).ravel(), np.repeat(times[::block], 2)
        values = None if values is None else np.repeat(values, 2)
    if values is None:
        ax.plot(times, data, color=colour, linewidth=1.1, label=view.names[channel])
        return
    points = np.stack([times, data], 1)
    middle = (points[1:] + points[:-1]) / 2  # each point colours its half of the lines to its neighbours
    left, right = np.concatenate([points[:1], middle]), np.concatenate([middle, points[-1:]])
    norm = Normalize(-1 if scale.signed else 0, 1)
    drawn = LineCollection(list(np.stack([left, points, right], 1)), cmap=colours, norm=norm, linewidths=2.4)
    drawn.set_array(scale.share(values))
    ax.add_collection(drawn)


def _line_map(colours: Any, signed: bool) -> Any:
    """Colours of a line: grey, not white, where nothing mattered, so that it is seen there too."""
    from matplotlib.colors import LinearSegmentedColormap

    ends = [AGAINST, (185, 185, 185), FOR]
    if signed and colours in (None, "dark"):
        colours = LinearSegmentedColormap.from_list("line", [np.array(c) / 255 for c in ends])
    return colour_map(colours, signed)


def _line_colours(count: int) -> list[Any]:
    """Dark colours and dashes that stand out from the ground: as many as there are channels."""
    shades = ["0.1", "#5b2a86", "#005f50", "#7a4a00", "0.45", "#80004d"]
    return [shades[i % len(shades)] for i in range(count)]


def _note(view: Series, scale: Scale, shown: int, block: int, sign: str, kind: str) -> str:
    from enodo.show.axes import told

    notes = [told(scale, view.values, sign)]
    if scale.signed and scale.peak > 0:
        notes.append("Marks at the top: for; at the bottom: against.")
    if kind != "combined" and shown < len(view.values):
        notes.append(f"The {shown} strongest of {len(view.values):,} channels.")
    if kind == "combined" and len(view.values) > 1:
        notes.append("Attributions are summed over the channels.")
    if block > 1:
        total = number(view.values.shape[1], False)
        notes.append(f"{total} steps: attributions are means over {block} of them, data their lowest and highest.")
    return " ".join(filter(None, notes))
