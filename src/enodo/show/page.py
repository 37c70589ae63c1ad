"""The report: input, answer, every method's picture, the evidence beside them, how to read it and to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from enodo.core.registry import methods
from enodo.show import evidence
from enodo.show.evidence import Evidence
from enodo.show.html import Answer, Entry, card, document, number_with, short
from enodo.show.markup import Markup, el, join, picture, scrolled
from enodo.show.pixels import REGIONS
from enodo.show.sample import Sample
from enodo.show.scale import Limits, limits_of
from enodo.show.table import bar
from enodo.show.tokens import text_of
from enodo.show.view import Map, regions, row_of, view_of
from enodo.show.words import is_signed, unit_of

CLOSE = 0.1  # difference of two probabilities below which the answer is called close
Counted = tuple[str, bool, bool]  # a unit, whether it has a sign, whether it is of parts of a picture
CLIP = 0.02  # share of the sum of a map's sizes that is drawn in the fullest colour


@dataclass(frozen=True)
class Page:
    """All that a report tells. Entries of several answers stand together by the name of their `answer`."""

    sample: Sample
    model: str  # what the model is, in words
    answers: Sequence[Answer]
    entries: Sequence[Entry]
    unit: str = ""
    facts: str = ""  # how good the model was measured to be
    command: str = ""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by the name of the answer
    one_scale: bool = False  # whether pictures of one unit and size share their colours


def report(page: Page) -> str:
    """The page as HTML text."""
    style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
    groups = _groups(page)
    body = el(
        "main",
        _head(page),
        el("section", _input(page.sample), _answers(page), class_="two", aria_label="Input and answer"),
        *(_why(page, name, entries, len(groups) > 1) for name, entries in groups.items()),
        _reading(page),
        _facts(page),
    )
    return document(f"enodo: {page.sample.title}, {_explained(page)}", style, body)


def _groups(page: Page) -> dict[str, list[Entry]]:
    """The entries of each answer."""
    found: dict[str, list[Entry]] = {}
    for entry in page.entries:
        found.setdefault(entry.answer, []).append(entry)
    return found


def _why(page: Page, name: str, entries: Sequence[Entry], several: bool) -> Markup:
    """One answer: the cards of its methods, and the evidence."""
    told = "what spoke for it and what against it" if any(map(_signed, entries)) else "what mattered"
    found = next((a for a in page.answers if a.explained and a.name == name), None)
    answer = _quoted(found) if found else name if several and name else _explained(page)
    heading = f"Why {answer}: {told}" if several else f"Why: {told}"
    limits = shared(page, entries) if page.one_scale else {}
    cards = [card(e, page.sample, answer, page.unit, limits=limits.get(counted(page, e))) for e in entries]
    measured = page.evidence.get(name)
    trust = None
    if measured is not None:
        trust = el("section", el("h2", "Can this be trusted?"), evidence.fragment(measured), class_="panel evidence")
    return join(el("h2", heading), el("section", *cards, class_="cards"), trust)


def counted(page: Page, entry: Entry) -> Counted:
    """What a picture counts: those that count the same share a scale. Parts of a picture are no pixels."""
    card = methods().get(entry.attribution.method)
    parts = page.sample.kind == "image" and card is not None and "absence" in card.needs
    return unit_of(entry.attribution, page.unit), _signed(entry), parts


def shared(page: Page, entries: Sequence[Entry]) -> dict[Counted, Limits]:
    """One scale for what counts in one unit."""
    found: dict[Counted, Limits] = {}
    for unit in {counted(page, e) for e in entries}:
        views = [view_of(e.attribution, page.sample) for e in entries if counted(page, e) == unit]
        maps = [v.values for v in views if isinstance(v, Map)]
        coarse = [regions(m, REGIONS) for m in maps if min(m.shape) > 2 * REGIONS]
        listed = limits_of([v.values for v in views if not isinstance(v, Map)])
        most = max(listed.values(), default=0.0)  # texts may leave out what the tokenizer added, and be the same text
        found[unit] = {**dict.fromkeys(listed, most), **limits_of([*maps, *coarse], CLIP)}
    return found


def _quoted(answer: Answer) -> str:
    return f"\u201c{short(answer.name)}\u201d" if answer.probability is not None else answer.name


def _explained(page: Page) -> str:
    """The words for what is explained."""
    found = [_quoted(a) for a in page.answers if a.explained] or list(_groups(page))
    return " and ".join(filter(None, [", ".join(found[:-1]), found[-1]]))


def _head(page: Page) -> Markup:
    explained = [a for a in page.answers if a.explained]
    found = explained[0] if explained else None
    answer = _explained(page)
    what = {"image": "parts of the picture", "text": "words", "table": "features"}.get(page.sample.kind, "inputs")
    if found is None:
        told = f"Of what {page.model} computes for {page.sample.title}, this explains {answer}."
    elif found.probability is None:
        told = f"{page.model} answers {number_with(found.score, page.unit)} for {page.sample.title}."
    elif len(explained) > 1:
        shares = "; ".join(f"{_quoted(a)} {a.probability:.1%}" for a in explained)
        told = f"{page.model} gives these answers to {page.sample.title}: {shares}."
    else:
        told = f"{page.model} gives {answer} a probability of {found.probability:.1%} for {page.sample.title}."
        told += _rival(found, page.answers)
    there = "each of them" if len(explained) > 1 else "it there"
    did = f"pushed {there}" if any(map(_signed, page.entries)) else "mattered"
    told += f" Below: which {what} {did}{_compared(page)}."
    title = f"Why {answer}?"
    if found is not None and found.probability is None and len(explained) == 1:
        title = f"Why {number_with(found.score, page.unit)}?"
    return el("header", el("p", "enodo explanation", class_="brand"), el("h1", title), el("p", told, class_="lead"))


def _compared(page: Page) -> str:
    """ "compared with ...", for the first method that compares."""
    words = next((entry.baseline for entry in page.entries if entry.baseline), "")
    return f", compared with {words}" if words else ""


def _rival(found: Answer, answers: Sequence[Answer]) -> str:
    """A warning where the explained answer is not the first choice, or only just."""
    others = [a for a in answers if a is not found]
    best = max(others, key=lambda a: a.score, default=None)
    if best is None or best.probability is None or found.probability is None:
        return ""
    if best.score > found.score:
        return f" Its own first choice is \u201c{short(best.name)}\u201d ({best.probability:.1%})."
    if found.probability - best.probability < CLOSE:
        return f" A close call: \u201c{short(best.name)}\u201d has {best.probability:.1%}."
    return ""


def _input(sample: Sample) -> Markup:
    parts: list[Markup] = []
    if sample.photo is not None:
        parts.append(picture(sample.photo, f"The input: {sample.title}", lossless=False))
    elif sample.kind == "text":
        parts.append(el("blockquote", text_of(sample), dir="auto"))
    elif sample.kind == "table":
        rows = [
            el("tr", el("th", n, scope="row"), el("td", c, class_="num"))
            for n, c in zip(sample.names, sample.cells, strict=True)
        ]
        told = f"{len(rows)} features; those that mattered most are listed below."
        listed = el("table", el("tbody", *rows))
        parts += [el("p", told), el("details", el("summary", "All of them with their values"), listed)]
    caption = sample.title + (f" ({sample.note})" if sample.note else "")
    parts.append(el("p", caption, class_="fine"))
    if sample.truth is not None:
        parts.append(el("p", "Recorded answer: ", el("strong", sample.truth)))
    return el("div", el("h2", "The input, as the model saw it"), *parts, class_="panel")


def _answers(page: Page) -> Markup:
    if not page.answers:
        return el("div", el("h2", "The model"), el("p", page.model), class_="panel")
    rows = []
    for a in page.answers:
        name = el("th", a.name, el("span", " explained below", class_="mark") if a.explained else None, scope="row")
        if a.probability is None:
            rows.append(el("tr", name, el("td", number_with(a.score, page.unit), class_="num")))
        else:
            level = el("td", bar(a.probability, signed=False), class_="bar")
            rows.append(el("tr", name, level, el("td", f"{a.probability:.1%}", class_="num"),
                           class_="chosen" if a.explained else None))  # fmt: skip
    facts = (
        el("p", f"How good is the model? {page.facts[:1].upper()}{page.facts[1:]}.", class_="fine")
        if page.facts
        else None
    )
    shown = el("table", el("tbody", *rows), class_="bars answers")
    return el("div", el("h2", "What the model answered"), shown, facts, class_="panel")


def _reading(page: Page) -> Markup:
    what = {"image": "A red area", "text": "A red word", "table": "A red bar"}.get(page.sample.kind, "Red")
    blue = {"image": "a blue area", "text": "a blue, underlined word", "table": "a blue bar to the left"}
    against = blue.get(page.sample.kind, "blue")
    told = []
    if any(map(_signed, page.entries)):
        told.append(f"{what} raised the score of the explained answer; {against} lowered it.")
    if not all(map(_signed, page.entries)):
        told.append(
            "Where the legend runs from weak to strong, colours tell how much something mattered, not which way."
        )
    told += [
        "The deeper the colour, the stronger the effect; the numbers are in the legend.",
        "What it is compared with matters: another baseline can give another picture."
        if _compared(page)
        else "There is no comparison here: the values are about this input alone.",
        "It shows what this model used, not what is true in the world. A model can be right for a wrong reason, and a "
        "cause in the model need not be a cause outside it.",
    ]
    if page.evidence:
        told.append(
            "The curves test a method on this input: parts are taken away in the order it gives, and the model is "
            "asked again. A picture whose line stays inside the grey band is no better than a guess. An input with "
            "parts missing is one the model may never have met, so no curve is the last word: look at both, and at "
            "the numbers."
        )
    if len(_groups(page)) < len(page.entries):
        told.append("Methods ask slightly different questions. Trust what they agree on; be careful where they differ.")
    return el("section", el("h2", "How to read this"), el("ul", *(el("li", t) for t in told)), class_="panel")


def _signed(entry: Entry) -> bool:
    return is_signed(entry.attribution, row_of(entry.attribution, 0))


def _facts(page: Page) -> Markup:
    """What was run, with which options, how long it took, and how to make the page again."""
    head = [el("th", name, scope="col") for name in ("method", "asked at", "options", "seconds", "rows")]
    rows = []
    for entry in page.entries:
        a = entry.attribution
        options = ", ".join(f"{key} = {value}" for key, value in a.options.items()) or "none"
        numbers = [el("td", told, class_="num") for told in (f"{a.seconds:.2f}", f"{a.rows:,}")]
        name = el("th", entry.title + (f" for {short(entry.answer)}" if entry.answer else ""), scope="row")
        rows.append(el("tr", name, el("td", a.wrt), el("td", options), *numbers))
    table = scrolled("what was run", el("table", el("thead", el("tr", *head)), el("tbody", *rows)))
    versions = page.entries[0].attribution.versions if page.entries else {}
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    again = join(el("p", "To make this page again:"), el("pre", el("code", page.command))) if page.command else None
    made_with = el("p", f"Made with {made}.", class_="fine") if made else None
    return el("footer", el("h2", "What was run"), table, again, made_with)
