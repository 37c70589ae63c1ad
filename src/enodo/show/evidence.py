"""The evidence beside a picture: deletion and insertion curves, agreement between methods; as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enodo.metrics import Curve, Curves, removed
from enodo.show import curves as drawn
from enodo.show.markup import Markup, el, join, scrolled
from enodo.show.scale import Array, number


@dataclass(frozen=True)
class Way:
    """One way of taking parts away: what stands in for them, in words, and the curves of each method."""

    words: str
    curves: Sequence[Curves]


@dataclass(frozen=True)
class Agreed:
    """How far methods agree about the parts: rank correlation and overlap of the k strongest, (M, M) both."""

    correlation: Array
    overlap: Array
    k: int
    chance: float  # the overlap of methods that know nothing of each other
    sizes: bool = False  # whether sizes were compared, since a method has no sign


@dataclass(frozen=True)
class Evidence:
    """What was measured about the methods of one answer, whose `names` stand in the order of everything else."""

    names: Sequence[str]
    ways: Sequence[Way]
    agreed: Agreed | None
    parts: str  # what was taken away at a time, in words: "196 squares of 16 x 16 pixels"
    unit: str  # of the curves: "probability", or the unit of the score

    @property
    def draws(self) -> int:
        """How many random orders the curves stand beside."""
        return len(self.ways[0].curves[0].deletion.control)


def fragment(evidence: Evidence) -> Markup:
    """The curves with their areas and random orders, then the agreement."""
    told = (
        f"A test of the order each method gives: the input was cut into {evidence.parts}. They were taken away, those "
        "that the method says spoke most strongly for the answer first, and then put back in the same order. If the "
        f"method is right, the {evidence.unit} falls at once and rises at once. The grey band is what "
        f"{evidence.draws} random orders do: a line inside it knows no more than chance."
    )
    return join(el("p", told), *(_way(evidence, way) for way in evidence.ways), _agreement(evidence))


def _way(evidence: Evidence, way: Way) -> Markup:
    gone, back = ([getattr(c, kind) for c in way.curves] for kind in ("deletion", "insertion"))
    figures = [drawn.fragment(curves, evidence.names, evidence.unit) for curves in (gone, back)]
    heading = el("h3", f"Parts taken away are replaced by {way.words}")
    return join(heading, drawn.key(evidence.names), el("div", *figures, class_="maps"), _areas(evidence, way))


def _areas(evidence: Evidence, way: Way) -> Markup:
    """The mean score along each way, and how many random orders do worse."""
    better = "better than random"
    columns = ("taking away (low is good)", better, "putting back (high is good)", better)
    head = [el("th", "method", scope="col"), *(el("th", c, scope="col", class_="num") for c in columns)]
    rows = [
        el("tr", el("th", name, scope="row"), *_area(c.deletion), *_area(c.insertion))
        for name, c in zip(evidence.names, way.curves, strict=True)
    ]
    chance = [x for kind in ("deletion", "insertion") for x in _random(getattr(way.curves[0], kind))]
    rows.append(el("tr", el("th", "random order", scope="row"), *chance, class_="faint"))
    caption = el("caption", f"Mean {evidence.unit} along the way")
    table = scrolled("areas", el("table", caption, el("thead", el("tr", *head)), el("tbody", *rows)))
    words = [
        el("li", f"{name}. ", join(*(el("span", removed(k, f"the {evidence.unit}").text, " ") for k in pair)))
        for name, c in zip(evidence.names, way.curves, strict=True)
        for pair in [(c.deletion, c.insertion)]
    ]
    return join(table, el("details", el("summary", "The same in words"), el("ul", *words)))


def _area(curve: Curve) -> list[Markup]:
    draws = len(curve.control)
    better = f"{float(curve.beaten[0]) * draws:g} of {draws}"
    return [el("td", number(float(curve.area[0]), False), class_="num"), el("td", better, class_="num")]


def _random(curve: Curve) -> list[Markup]:
    area = curve.control_area[:, 0]
    spread = float(area.std()) if len(area) > 1 else 0.0
    told = f"{number(float(area.mean()), False)} \u00b1 {number(spread, False)}"
    return [el("td", told, class_="num"), el("td", class_="num")]


def _agreement(evidence: Evidence) -> Markup | None:
    """Each pair of methods: rank correlation, and how many of the strongest parts they share."""
    found = evidence.agreed
    if found is None or len(evidence.names) < 2:
        return None
    head = [el("th", "", scope="col"), *(el("th", name, scope="col", class_="num") for name in evidence.names)]
    rows = []
    for i, name in enumerate(evidence.names):
        cells = [
            el("td", "" if i == j else f"{signed(found.correlation[i, j])} | {found.overlap[i, j]:.0%}", class_="num")
            for j in range(len(evidence.names))
        ]
        rows.append(el("tr", el("th", name, scope="row"), *cells))
    told = (
        "Left, the rank correlation of two methods over all parts: 1 is the same order, 0 none in common, \u22121 the "
        f"reverse. Right, how many of the {found.k} strongest parts of one are among those of the other; methods that "
        f"know nothing of each other share {found.chance:.0%}."
    )
    if found.sizes:
        told += " Sizes are compared here, since a method among them does not say for or against."
    table = el("table", el("thead", el("tr", *head)), el("tbody", *rows))
    return join(el("h3", "Do the methods agree?"), el("p", told), scrolled("agreement", table))


def signed(value: float) -> str:
    """A correlation with its sign; a dash where there is none."""
    return "\u2013" if value != value else f"{round(value, 2) + 0.0:+.2f}".replace("-", "\u2212")
