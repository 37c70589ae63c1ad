"""Many rows of a table at once: mean sizes, a swarm of points a feature, a map of rows and features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import nearest, refuse
from enodo.show.pixels import DRAWN
from enodo.show.rows import Table
from enodo.show.scale import AGAINST, FOR, Array, chosen, colour_map, number, scale_of
from enodo.show.series import blocks
from enodo.show.table import draw as draw_bars
from enodo.show.view import Bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 12  # features drawn: the strongest on average
POINTS = 1500  # points of a feature; of more rows, points evenly spread over the ranks, extremes included
NAMED = 40  # rows that can carry their names
ORDERS = ("similar", "score", "given")
LOW_HIGH = "cividis"  # values of features: dark is low, light is high, also for the colour-blind


def size_of(view: Table, kind: str, shown: int = SHOWN) -> tuple[float, float]:
    """Inches of a drawing."""
    if kind == "dependence":
        return 6.0, 4.4
    return 7.6, max(3.9 if kind == "heatmap" else 0, 1.7 + 0.34 * min(shown, len(view.names)))


def mean(view: Table, ax: Axes, *, shown: int = SHOWN, unit: str = "attribution", title: str = "") -> None:
    """Bars: the mean size of each feature's attributions over the rows."""
    sizes = np.where(np.isfinite(view.values), np.abs(view.values), 0).mean(0)
    bars = Bars(view.names, [""] * len(view.names), sizes)
    unit = f"mean size over {len(view.values):,} rows, in {unit}"
    draw_bars(bars, ax, signed=False, shown=shown, unit=unit, title=title)


def beeswarm(
    view: Table, ax: Axes, *, shown: int = SHOWN, signed: bool = True, unit: str = "attribution", title: str = ""
) -> None:
    """A row of points for each of the strongest features, a point for each row of the table, coloured by its value."""
    from enodo.show.axes import both_ways, titled, told, under

    order = view.strongest(shown)
    scale = scale_of(view.values[:, order], 0.0, signed)
    reach = (scale.peak or 1.0) * 1.08
    for y, feature in enumerate(order):
        values = np.clip(view.values[:, feature], -reach, reach)
        rows = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
        if len(rows) > POINTS:
            rows = rows[np.linspace(0, len(rows) - 1, POINTS).round().astype(int)]
        colours: Any = [np.array(FOR if v >= 0 else AGAINST) / 255 for v in values[rows]]
        if view.data is not None:
            shades = view.data[feature].shades[rows]
            colours = colour_map(LOW_HIGH)(shades)
            colours[~np.isfinite(shades)] = (0.6, 0.6, 0.6, 1)
        ax.scatter(
            values[rows],
            y + swarm(values[rows], reach),
            c=colours,
            s=8,
            linewidths=0.3,
            edgecolors="0.5",
            rasterized=True,
        )
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set_xlim(-reach if signed else -0.02 * reach, reach)
    _features(ax, view, order)
    ax.set_xlabel(both_ways(unit) if signed else unit, fontsize=8, parse_math=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if view.data is not None:
        low_high(ax, "value of the feature")
    titled(ax, title)
    under(ax, " ".join(filter(None, [told(scale, view.values, coloured=False), _counted(view, len(order))])), drop=30)


def swarm(values: Array, reach: float, height: float = 0.38) -> Array:
    """Heights that spread points of like value (sorted) about their line: the more of them, the higher the swarm."""
    bins = np.floor(values / reach * 60).astype(int)
    _, start, count = np.unique(bins, return_index=True, return_counts=True)
    place = np.arange(len(values)) - np.repeat(start, count)
    side = np.where(place % 2 == 0, 1, -1) * ((place + 1) // 2)
    return np.asarray(side * (2 * height / max(12, int(count.max(initial=0)))))


def heatmap(
    view: Table,
    ax: Axes,
    *,
    shown: int = SHOWN,
    order: str | None = None,
    sign: str = "all",
    clip: float = 0.02,
    signed: bool = True,
    limit: float | None = None,
    colours: Any = None,
    unit: str = "attribution",
    title: str = "",
) -> None:
    """Rows from left to right, the strongest features from top to bottom, their mean size at the right.

    order  of the rows: "similar" (by what their attributions have most in common), "score" or "given"; where none is
           named, rows that have names are left as they are given
    """
    from enodo.show.axes import legend_bar, minus_signs, titled, told, under
    from enodo.show.scale import paint

    order = order or ("given" if view.rows is not None else "similar")
    if order not in ORDERS or (order == "score" and view.scores is None):
        known = ORDERS if view.scores is not None else ("similar", "given")
        refuse("order", repr(order), f"one of {', '.join(map(repr, known))}", nearest(str(order), known))
    features = view.strongest(shown)
    rows = _ordered(view, order)
    values = chosen(view.values[rows][:, features].T, sign)
    signed = signed and sign != "absolute"
    block = -(-len(rows) // DRAWN)
    values = blocks(values, block)
    scale = scale_of(values, clip, signed, limit)
    extent = (-0.5, len(rows) - 0.5, len(features) - 0.5, -0.5)
    ax.imshow(paint(values, scale, colours), aspect="auto", interpolation="nearest", extent=extent)
    if signed:
        minus_signs(ax, values, scale, extent)
    _features(ax, view, features)
    sizes = np.where(np.isfinite(view.values), np.abs(view.values), 0).mean(0)
    for y, feature in enumerate(features):
        ax.annotate(
            number(float(sizes[feature]), False), (1, y), (3, 0), ("axes fraction", "data"), "offset points",
            fontsize=7, va="center",
        )  # fmt: skip
    ax.annotate("mean size", (1, 1), (3, 2), "axes fraction", "offset points", fontsize=7, va="bottom", color="0.25")
    if view.scores is not None:
        _score_line(ax, blocks(view.scores[rows][None], block)[0], len(rows))
        title = title and f"{title}\n\n"  # above the line of scores
    told_order = {"similar": "similar ones side by side", "score": "by score", "given": "in the order given"}[order]
    drop = 30.0
    if view.rows is not None and len(rows) <= NAMED:
        names = [view.rows[i] for i in rows]
        ax.set_xticks(range(len(rows)), names, rotation=90, parse_math=False, fontsize=8)
        drop = 12 + 5.0 * max(map(len, names))
    else:
        kind = "rows" if view.rows is None else "places"
        ax.set_xlabel(f"{len(rows):,} {kind}, {told_order}", fontsize=8)
    legend_bar(ax, scale, sign, colour_map(colours, signed), f"{unit} per {view.part}")
    titled(ax, title)
    note = f"Each column is the mean of {block} rows." if block > 1 else ""
    notes = [told(scale, view.values, sign), note, _counted(view, len(features))]
    under(ax, " ".join(filter(None, notes)), drop)


def _ordered(view: Table, order: str) -> Array:
    """Rows from left to right."""
    if order == "given":
        return np.arange(len(view.values))
    if order == "score" and view.scores is not None:
        return np.argsort(view.scores, kind="stable")
    centred = np.where(np.isfinite(view.values), view.values, 0)
    centred = centred - centred.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred) if centred.shape[1] <= 2000 else (None, np.eye(1))
    axis = vectors[:, -1] if len(vectors) == centred.shape[1] else np.ones(centred.shape[1])
    axis = axis * (np.sign(axis[np.abs(axis).argmax()]) or 1.0)  # eigenvectors have no sign of their own
    return np.argsort(centred @ axis, kind="stable")


def _score_line(ax: Axes, scores: Array, rows: int) -> None:
    above = ax.inset_axes((0, 1.02, 1, 0.13))
    above.plot(np.linspace(0, rows - 1, len(scores)), scores, color="0.2", linewidth=0.9)
    above.set_xlim(-0.5, rows - 0.5)
    above.tick_params(labelsize=6, bottom=False, labelbottom=False)
    above.set_ylabel("score", fontsize=7)
    above.spines[["top", "right", "bottom"]].set_visible(False)


def _features(ax: Axes, view: Table, order: Array) -> None:
    ax.set_yticks(range(len(order)), [view.names[i] for i in order], parse_math=False, fontsize=8)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.tick_params(labelsize=8, left=False)


def _counted(view: Table, shown: int) -> str:
    return f"The {shown} strongest of {len(view.names):,} {view.part}s." if shown < len(view.names) else ""


def low_high(ax: Axes, label: str, words: list[str] | None = None) -> None:
    """The legend of colours that stand for values of a feature, not for attributions."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure: Any = ax.figure
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), LOW_HIGH), ax=ax, fraction=0.03, pad=0.02)
    ends = [words[0], words[-1]] if words else ["low", "high"]
    bar.ax.set_yticks([0, 1], ends, parse_math=False, fontsize=8)
    bar.set_label(label, fontsize=8, parse_math=False)
