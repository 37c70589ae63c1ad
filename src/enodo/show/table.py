"""Bars: the attribution of each named feature, to the right (for, red) or to the left (against, blue)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show.markup import Markup, el, join, scrolled
from enodo.show.scale import AGAINST, FOR, Limits, Scale, limit_for, number, scale_of
from enodo.show.view import Bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12  # bars before the rest is summed up in one line


def fragment(view: Bars, unit: str, signed: bool = True, limits: Limits | None = None, shown: int = SHOWN) -> Markup:
    """The strongest bars as an HTML table, and the others in a part that opens."""
    scale = scale_of(view.values, 0.0, signed, limit_for(view.values, limits))
    order = np.argsort(-np.abs(view.values), kind="stable")
    first, rest = order[:shown], order[shown:]
    values = el("th", "value", scope="col", class_="num") if any(view.cells) else None
    axis = "against \u2190 0 \u2192 for" if signed else "strength"
    bars, numbers = el("th", axis, scope="col", class_="bar"), el("th", unit, scope="col", class_="num")
    head = el("tr", el("th", "feature", scope="col"), values, bars, numbers)
    table = scrolled(
        "features", el("table", el("thead", head), el("tbody", *(_row(view, i, scale) for i in first)), class_="bars")
    )
    more = None
    if len(rest):
        total = number(float(view.values[rest].sum()))
        summary = f"{len(rest)} weaker features, together {total}"
        listed = rest[:500]
        cut = f"{len(rest) - len(listed):,} more are not listed." if len(rest) > len(listed) else None
        body = scrolled(
            "weaker features", el("table", el("tbody", *(_row(view, i, scale) for i in listed)), class_="bars")
        )
        more = el("details", el("summary", summary), body, el("p", cut, class_="fine") if cut else None)
    empty = el("p", "Every value is zero: no feature moved this score.", class_="fine") if scale.peak == 0 else None
    return join(table, more, empty)


def _row(view: Bars, i: int, scale: Scale) -> Markup:
    value = float(view.values[i])
    cell = el("td", view.cells[i], class_="num") if any(view.cells) else None
    drawn = el("td", bar(float(scale.share(np.array(value))), scale.signed), class_="bar")
    return el("tr", el("th", view.names[i], scope="row"), cell, drawn, el("td", number(value), class_="num"))


def bar(share: float, signed: bool = True) -> Markup:
    """A bar of -1 .. 1 about the middle of its field (0 .. 1 from the left where unsigned)."""
    width = abs(share) * (100 if signed else 200)
    start = (100 if share >= 0 else 100 - width) if signed else 0
    kind = "for" if share >= 0 else "against"
    rect = el("rect", x=f"{start:.1f}", y=2, width=f"{width:.1f}", height=12, rx=1.5, class_=kind)
    axis = el("line", x1=100, x2=100, y1=0, y2=16) if signed else None
    return el("svg", rect, axis, viewBox="0 0 200 16", preserveAspectRatio="none", aria_hidden="true")


def legend(scale: Scale, unit: str) -> Markup:
    """A strip of the colours of words, with its numbers."""
    strip = el("span", class_="strip ramp" if scale.signed else "strip ramp unsigned")
    return el("div", strip, ends(scale, unit), class_="legend")


def ends(scale: Scale, unit: str) -> Markup:
    """What stands below a strip of colours: its numbers, what they mean, their unit."""
    limit = number(scale.limit, scale.signed)
    told = (
        (f"{number(-scale.limit)} against", "0", f"{limit} for") if scale.signed else ("0 weak", "", f"{limit} strong")
    )
    numbers = el("span", *(el("span", text) for text in told), class_="ends")
    return join(numbers, el("span", unit, class_="unit"))


def draw(
    view: Bars,
    ax: Axes | None = None,
    *,
    signed: bool = True,
    title: str = "",
    shown: int = SHOWN,
    limit: float | None = None,
    unit: str = "attribution",
) -> Figure:
    """Draw the strongest `shown` bars with matplotlib, on an axis that ends at `limit`; return the Figure."""
    from enodo.show.axes import both_ways, new_axes, titled, told, under

    order = np.argsort(-np.abs(np.nan_to_num(view.values)), kind="stable")[:shown][::-1]
    ax = ax if ax is not None else new_axes(size_of(view, shown))
    scale = scale_of(view.values, 0.0, signed, limit)
    end = scale.limit or 1.0
    values = np.clip(np.nan_to_num(view.values[order]), -end, end)
    colours = [np.array(FOR if v >= 0 else AGAINST) / 255 for v in values]
    ax.barh(range(len(order)), values, color=colours)
    names = [f"{view.names[i]} = {view.cells[i]}" if view.cells[i] else view.names[i] for i in order]
    ax.set_yticks(range(len(order)), names, parse_math=False, fontsize=8)
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set_xlim(-end * 1.25 if signed else 0, end * 1.25)
    for y, (i, value) in enumerate(zip(order, values, strict=True)):
        told_value = number(float(view.values[i]), signed)
        ax.annotate(told_value, (value, y), (4 if value >= 0 else -4, 0), textcoords="offset points",
                    va="center", ha="left" if value >= 0 else "right", fontsize=8)  # fmt: skip
    ax.set_xlabel(both_ways(unit) if signed else unit, parse_math=False, fontsize=8)
    ax.tick_params(labelsize=8, left=False)
    left = len(view.names) - len(order)
    notes = [told(scale, view.values, coloured=False), f"And {left:,} weaker ones." if left > 0 else ""]
    under(ax, " ".join(filter(None, notes)), drop=30)
    ax.spines[["top", "right", "left"]].set_visible(False)
    titled(ax, title)
    figure: Any = ax.figure
    return figure


def size_of(view: Bars, shown: int = SHOWN) -> tuple[float, float]:
    """Inches of a drawing."""
    return 6.4, 1.1 + 0.28 * min(shown, len(view.names))
