"""Waterfall: from the score of the baseline to the score of a row, a step a feature, with what is unaccounted for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.show.scale import AGAINST, FOR, number
from enodo.show.view import Bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12  # steps before the rest is one step
HEAD = 0.02  # length of an arrow's head, as a share of the axis


def draw(
    view: Bars,
    ax: Axes | None = None,
    *,
    start: float | None = None,
    end: float | None = None,
    shown: int = SHOWN,
    unit: str = "score",
    title: str = "",
) -> Figure:
    """Draw the steps from `start` (by default 0), the strongest first, and return the Figure.

    `end` is the score that the steps should lead to: where they miss it, the missing step is drawn as such, in grey.
    """
    from enodo.show.axes import new_axes, titled, under

    if not np.isfinite(view.values).all():
        lost = int((~np.isfinite(view.values)).sum())
        given = "1 value that is" if lost == 1 else f"{lost:,} values that are"
        refuse("attribution", f"{given} not finite", "finite values to add up", "Draw kind='bar'.")
    order = np.argsort(-np.abs(view.values), kind="stable")
    first, rest = order[:shown], order[shown:]
    names = [f"{view.names[i]} = {view.cells[i]}" if view.cells[i] else view.names[i] for i in first]
    values = [float(view.values[i]) for i in first]
    if len(rest):
        names.append(f"{len(rest):,} weaker features")
        values.append(float(view.values[rest].sum()))
    base = 0.0 if start is None else start
    reached = base + sum(values)
    gap = 0.0 if end is None else end - reached
    span = max(abs(v) for v in [*values, reached - base, 1e-300])
    told = abs(gap) > 0.005 * span
    if told:
        names.append("unaccounted for")
        values.append(gap)
    ax = ax if ax is not None else new_axes((6.8, 1.5 + 0.32 * (len(names) + 2)))
    edges = np.cumsum([base, *values])
    _steps(ax, edges, grey=len(values) - 1 if told else -1)
    low, high = float(edges.min()), float(edges.max())
    room = (high - low) * 0.22 or 1.0
    ax.set_xlim(low - room, high + room)
    labels = [f"{'baseline' if start is not None else 'start'}: {number(base, False)}", *names]
    labels.append(f"{'score' if end is not None else 'sum'}: {number(float(edges[-1]), False)}")
    ax.set_yticks(range(len(labels)), labels, parse_math=False, fontsize=8)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel(unit, fontsize=8, parse_math=False)
    ax.tick_params(labelsize=8, left=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    titled(ax, title)
    if not np.any(view.values):
        under(ax, "Every value is zero: nothing here moved this score.", drop=30)
    figure: Any = ax.figure
    return figure


def _steps(ax: Axes, edges: np.ndarray, grey: int) -> None:
    """Arrows from edge to edge, one below the other, between the two scores."""
    from matplotlib.patches import Polygon

    last = len(edges)
    head = HEAD * (float(np.ptp(edges)) or 1.0)
    for y, (a, b) in enumerate(itertools.pairwise(edges), 1):
        tip = np.sign(b - a) * min(head, abs(b - a))
        corners = [(a, y - 0.36), (b - tip, y - 0.36), (b, y), (b - tip, y + 0.36), (a, y + 0.36)]
        colour = "0.6" if y - 1 == grey else np.array(FOR if b >= a else AGAINST) / 255
        ax.add_patch(Polygon(corners, facecolor=colour, edgecolor="none"))
        ax.plot([b, b], [y, y + 1], color="0.5", linewidth=0.7)
        side = 1 if b >= a else -1
        ax.annotate(
            number(float(b - a)), (b, y), (5 * side, 0), textcoords="offset points", va="center",
            ha="left" if side > 0 else "right", fontsize=8,
        )  # fmt: skip
    ax.plot([edges[0]] * 2, [-0.36, 1], color="0.5", linewidth=0.7)
    for y, x in ((0, edges[0]), (last, edges[-1])):
        ax.plot([x], [y], marker="D", color="0.2", markersize=5)
