"""Deletion and insertion curves: every method's line over the band of random orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show.markup import Markup, el, join
from enodo.show.scale import Array, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from enodo.metrics import Curve

# Colours that people with any colour vision tell apart (Okabe and Ito 2008), with a dash each as a second cue.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa3377", "#8a6d00", "#56707f")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 2", "12 4")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 220, 52, 26, 12, 14

SHARE = "probability"  # the unit whose axis is numbered in per cent, from 0 to 1

HEADINGS = {"deletion": "Taking parts away", "insertion": "Putting parts back"}
BETTER = {"deletion": "the lower the line, the better", "insertion": "the higher the line, the better"}


def line_of(curve: Curve, row: int = 0) -> tuple[Array, Array]:
    """(fractions, scores) of one row, (S + 1,) both."""
    return _array(curve.fractions[row]), _array(curve.scores[row])


def band_of(curve: Curve, row: int = 0) -> tuple[Array, Array, Array]:
    """(fractions, mean, standard deviation) of the random orders of one row, (S + 1,) each."""
    drawn = _array(curve.control[:, row])
    return _array(curve.control_fractions[row]), drawn.mean(0), drawn.std(0)


def _array(t: Any) -> Array:
    return np.asarray(t.detach().cpu().double().numpy())


def draw(curves: Sequence[Curve], names: Sequence[str], ax: Axes | None = None, *, row: int = 0, unit: str = "score",
         title: str = "") -> Figure:  # fmt: skip
    """Draw one row's curves of one kind with matplotlib, each with its area, and return the Figure."""
    from enodo.show.axes import new_axes

    ax = ax if ax is not None else new_axes((5.2, 3.6))
    x, mean, spread = band_of(curves[0], row)
    ax.fill_between(x, mean - spread, mean + spread, color="0.85", linewidth=0)
    area = float(curves[0].control_area[:, row].mean())
    ax.plot(x, mean, color="0.4", linestyle=":", label=f"random order: {number(area, False)}")
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        dashes = DASHES[i % len(DASHES)]
        style: Any = (0, tuple(map(float, dashes.split()))) if dashes else "-"
        label = f"{name}: {number(float(curve.area[row]), False)}"
        ax.plot(*line_of(curve, row), color=COLOURS[i % len(COLOURS)], linestyle=style, linewidth=1.8, label=label)
    ax.set_xlabel("share of the parts " + {"deletion": "taken away", "insertion": "put back"}[curves[0].kind])
    ax.set_ylabel(unit)
    ax.set_xlim(0, 1)
    ax.legend(title="area", fontsize=8)
    ax.set_title(title or f"{HEADINGS[curves[0].kind]}: {BETTER[curves[0].kind]}", fontsize=10)
    return ax.figure  # type: ignore[return-value]


def fragment(curves: Sequence[Curve], names: Sequence[str], unit: str, row: int = 0) -> Markup:
    """One row's curves of one kind as HTML: a drawing that needs no script, told in words for who cannot see it."""
    kind = curves[0].kind
    lines = [line_of(c, row) for c in curves]
    x, mean, spread = band_of(curves[0], row)
    share = unit == SHARE
    below, above = (np.clip(v, 0, 1) if share else v for v in (mean - spread, mean + spread))
    low, high = _span(np.concatenate([below, above, *(y for _, y in lines)]))

    def at(xs: Array, ys: Array) -> str:
        across = LEFT + xs * (WIDTH - LEFT - RIGHT)
        down = TOP + (high - ys) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))

    band = at(np.concatenate([x, x[::-1]]), np.concatenate([above, below[::-1]]))
    drawn = [el("polyline", points=at(*line), class_=f"m{i % len(COLOURS)}") for i, line in enumerate(lines)]
    areas = "; ".join(f"{n} {number(float(c.area[row]), False)}" for n, c in zip(names, curves, strict=True))
    area = number(float(curves[0].control_area[:, row].mean()), False)
    alt = f"{HEADINGS[kind]}. Mean {unit} along the way: {areas}; random order {area}."
    svg = el(
        "svg", _frame(low, high, share), el("polygon", points=band, class_="band"),
        el("polyline", points=at(x, mean), class_="chance"), *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=alt, class_="curve",
    )  # fmt: skip
    told = f"Across: share of the parts {'taken away' if kind == 'deletion' else 'put back'}. Up: {unit}."
    caption = el("figcaption", el("strong", HEADINGS[kind]), f": {BETTER[kind]}.", el("span", told, class_="unit"))
    return el("figure", svg, caption)


def key(names: Sequence[str]) -> Markup:
    """What each line of the curves stands for."""

    def entry(name: str, *mark: Markup) -> Markup:
        return el("li", el("svg", *mark, viewBox="0 0 34 12", aria_hidden="true"), " ", name)

    def stroke(kind: str) -> Markup:
        return el("polyline", points="1,6 33,6", class_=kind)

    listed = [entry(name, stroke(f"m{i % len(COLOURS)}")) for i, name in enumerate(names)]
    band = el("rect", x=1, y=1, width=32, height=10, class_="band")
    return el("ul", *listed, entry("random order, and its spread", band, stroke("chance")), class_="key")


def _span(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    low = 0.0 if 0 < low < 0.5 * high else low
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _frame(low: float, high: float, as_share: bool) -> Markup:
    """Axes with their ends and middles numbered."""
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [el("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid") for y in (TOP, (TOP + floor) / 2, floor)]
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        x = LEFT + share * (right - LEFT)
        parts.append(el("text", f"{share:.0%}", x=f"{x:.1f}", y=floor + 18, text_anchor=anchor))
        y, value = floor - share * (floor - TOP), low + share * (high - low)
        told = f"{value:.0%}" if as_share and high - low >= 0.05 else number(value, False)
        parts.append(el("text", told, x=LEFT - 5, y=f"{y + 4:.1f}", text_anchor="end"))
    return join(*parts)
