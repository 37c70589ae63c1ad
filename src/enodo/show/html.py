"""The report: one self-contained HTML page that opens anywhere, offline, in light and dark, on paper and on a phone.

No script, nothing loaded from elsewhere; a content security policy in the page forbids both. All that came from data is
escaped by `markup`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from enodo.show import image, table, text
from enodo.show.markup import Markup, el, join, picture
from enodo.show.sample import Sample
from enodo.show.table import bar
from enodo.show.tokens import Words, text_of
from enodo.show.view import Bars, Map, row_of, view_of
from enodo.show.words import balance, is_signed, noise, settled, unit_of

if TYPE_CHECKING:
    from enodo.core.result import Attribution


CLOSE = 0.1  # difference of two probabilities below which the answer is called close


@dataclass(frozen=True)
class Answer:
    """One output of the model in words: its class, its score, its probability (None for a regression)."""

    name: str
    score: float
    probability: float | None = None
    explained: bool = False


@dataclass(frozen=True)
class Entry:
    """One method's result, with its title, its summary in one sentence, advice on when to use it, and its baseline."""

    attribution: Attribution
    title: str
    summary: str = ""
    when: str = ""
    baseline: str = ""  # what the input was compared with, in words; "" for a method that does not compare


@dataclass(frozen=True)
class Page:
    """All that a report tells."""

    sample: Sample
    model: str  # what the model is, in words
    answers: Sequence[Answer]
    entries: Sequence[Entry]
    unit: str = ""
    facts: str = ""  # how good the model was measured to be
    command: str = ""


def report(page: Page) -> str:
    """The page as HTML text."""
    style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
    answer = _explained(page)
    body = el(
        "main",
        _head(page, answer),
        el("section", _input(page.sample), _answers(page), class_="two", aria_label="Input and answer"),
        el(
            "h2",
            "Why: what spoke for it and what against it" if any(map(_signed, page.entries)) else "Why: what mattered",
        ),
        el("section", *(card(e, page.sample, answer, page.unit) for e in page.entries), class_="cards"),
        _reading(page),
        _facts(page),
    )
    return document(f"enodo: {page.sample.title}, {answer}", style, body)


def document(title: str, style: str, body: Markup) -> str:
    """A whole HTML document; its policy allows this style sheet by its hash, inline images, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Markup(style)),
    )
    return f"<!doctype html>\n{el('html', head, el('body', body), lang='en')}\n"


def _explained(page: Page) -> str:
    """The words for the answer that is explained."""
    found = [a for a in page.answers if a.explained]
    if not found:
        return "the value asked about"
    return f"\u201c{short(found[0].name)}\u201d" if found[0].probability is not None else found[0].name


def short(name: str) -> str:
    """A class name up to its first comma: ImageNet lists synonyms after it."""
    return name.split(",", 1)[0].strip()


def _head(page: Page, answer: str) -> Markup:
    found = next((a for a in page.answers if a.explained), None)
    what = {"image": "parts of the picture", "text": "words", "table": "features"}.get(page.sample.kind, "inputs")
    if found is None:
        told = "The value of a place inside the model is explained."
    elif found.probability is None:
        told = f"{page.model} answers {number_with(found.score, page.unit)} for {page.sample.title}."
    else:
        told = f"{page.model} gives {answer} a probability of {found.probability:.1%} for {page.sample.title}."
        told += _rival(found, page.answers)
    told += f" Below: which {what} pushed it there{_compared(page)}."
    title = (
        f"Why {answer}?"
        if found is None or found.probability is not None
        else f"Why {number_with(found.score, page.unit)}?"
    )
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


def number_with(value: float, unit: str) -> str:
    """A value of a regression with its unit."""
    return f"{value:,.4g} {unit}".strip()


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


def card(entry: Entry, sample: Sample | None, answer: str, unit: str = "", row: int = 0) -> Markup:
    """One method's picture with its legend, whether its parts add up, and its particulars."""
    a = entry.attribution
    view, counted = view_of(a, sample, row), unit_of(a, unit)
    signed = is_signed(a, row_of(a, row))
    draw: Any = {Map: image.fragment, Words: text.fragment, Bars: table.fragment}[type(view)]
    drawn: Markup = draw(view, counted, signed)
    notes = [balance(a, answer, entry.baseline, unit, row), settled(a, row), noise(a, row), *a.notes]
    options = ", ".join(f"{key} = {value}" for key, value in a.options.items()) or "none"
    facts = [
        ("time", f"{a.seconds:.2f} s, {a.rows:,} rows through the model"),
        ("options", options),
        ("asked about", f"{a.of} with respect to {a.wrt}"),
        ("seed", "not used" if a.seed is None else a.seed),
    ]
    inside = a.wrt.split("[", 1)[0] not in ("INPUT", "EMBEDDING")
    told = f"{entry.summary} The parts are values inside the model, at {a.wrt}." if inside else entry.summary
    listed = el("dl", *(join(el("dt", key), el("dd", value)) for key, value in facts))
    return el(
        "article", el("h3", entry.title), el("p", told, class_="summary"), drawn,
        *(el("p", note, class_="note") for note in notes if note),
        el("details", el("summary", "Particulars of this run"), el("p", entry.when) if entry.when else None, listed),
    )  # fmt: skip


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
    if len(page.entries) > 1:
        told.append("Methods ask slightly different questions. Trust what they agree on; be careful where they differ.")
    return el("section", el("h2", "How to read this"), el("ul", *(el("li", t) for t in told)), class_="panel")


def _signed(entry: Entry) -> bool:
    return is_signed(entry.attribution, row_of(entry.attribution, 0))


def _facts(page: Page) -> Markup:
    versions = page.entries[0].attribution.versions if page.entries else {}
    command = el("pre", el("code", page.command)) if page.command else None
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    again = el("p", "To make this page again:") if page.command else None
    return el("footer", again, command, el("p", f"Made with {made}." if made else None, class_="fine"))
