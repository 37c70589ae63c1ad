"""Dependence: the value of one feature against what it contributed, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.show.many import LOW_HIGH, POINTS, low_high
from enodo.show.rows import Table
from enodo.show.scale import Array, colour_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(
    view: Table,
    ax: Axes,
    *,
    feature: Any = None,
    colour: Any = None,
    signed: bool = True,
    unit: str = "attribution",
    title: str = "",
) -> None:
    """The value of one feature against its attribution, a point a row, coloured by another feature's value.

    `feature` is the strongest one where none is given, `colour` that whose value goes best with what the value of
    `feature` itself leaves unexplained. Spread at one value is interaction with other features.
    """
    from enodo.show.axes import both_ways, titled, under

    if view.data is None:
        refuse("data", "nothing", "the values of the features, (rows, features)", "Write plot(..., data=inputs).")
    at = int(view.strongest(1)[0]) if feature is None else view.index(feature, "feature")
    other = _partner(view, at) if colour is None else view.index(colour, "colour")
    x, y = view.data[at], view.values[:, at]
    places = x.numbers + (np.random.default_rng(0).uniform(-0.15, 0.15, len(y)) if x.words else 0)
    rows = np.flatnonzero(np.isfinite(places) & np.isfinite(y))
    left_out = len(y) - len(rows)
    if len(rows) > 4 * POINTS:
        rows = rows[np.argsort(y[rows], kind="stable")][np.linspace(0, len(rows) - 1, 4 * POINTS).round().astype(int)]
    shades: Any = "0.2" if other is None else colour_map(LOW_HIGH)(np.nan_to_num(view.data[other].shades[rows]))
    ax.scatter(places[rows], y[rows], c=shades, s=11, linewidths=0.3, edgecolors="0.5", rasterized=True)
    ax.axhline(0, color="0.4", linewidth=0.8)
    if x.words:
        ax.set_xticks(range(len(x.words)), x.words, parse_math=False)
    ax.set_xlabel(view.names[at], parse_math=False, fontsize=9)
    ax.set_ylabel(both_ways(unit) if signed else unit, fontsize=8, parse_math=False)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    if other is not None:
        low_high(ax, view.names[other], view.data[other].words)
    titled(ax, title)
    under(ax, f"{left_out:,} rows without finite numbers are left out." if left_out else "", drop=34)


def _partner(view: Table, at: int) -> int | None:
    """The feature that goes best with the attribution among rows of like value: covariances within bins, by size."""
    if view.data is None or len(view.names) < 2:
        return None
    x, y = np.nan_to_num(view.data[at].numbers), np.nan_to_num(view.values[:, at], posinf=0, neginf=0)
    bins = min(10, max(1, len(y) // 8))
    groups = np.searchsorted(np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]), x, side="right")

    def centred(values: Array) -> Array:
        sums, counts = np.bincount(groups, values, bins), np.maximum(np.bincount(groups, minlength=bins), 1)
        return np.asarray(values - (sums / counts)[groups])

    left = centred(y)

    def alike(j: int) -> float:
        z = np.nan_to_num(view.data[j].numbers)  # type: ignore[index]
        spread = float(z.std())
        return float(np.abs(np.bincount(groups, centred(z) * left, bins)).sum()) / spread if spread > 0 else 0.0

    return max((j for j in range(len(view.names)) if j != at), key=alike)
