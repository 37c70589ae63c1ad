"""Documents that open anywhere, and what stands in them: answers of a model, one method's card.

No script, nothing loaded from elsewhere; a content security policy in each page forbids both. All that came from data
is escaped by `markup`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from enodo.show import image, table, text
from enodo.show.markup import Markup, el, join
from enodo.show.sample import Sample
from enodo.show.scale import Limits
from enodo.show.tokens import Words
from enodo.show.view import Bars, Map, row_of, view_of
from enodo.show.words import balance, is_signed, noise, rows_told, settled, unit_of

if TYPE_CHECKING:
    from enodo.core.result import Attribution


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
    answer: str = ""  # the name of the answer that it explains, where several are explained


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


def short(name: str) -> str:
    """A class name up to its first comma: ImageNet lists synonyms after it."""
    return name.split(",", 1)[0].strip()


def number_with(value: float, unit: str) -> str:
    """A value of a regression with its unit."""
    return f"{value:,.4g} {unit}".strip()


def card(
    entry: Entry,
    sample: Sample | None,
    answer: str,
    unit: str = "",
    row: int | None = 0,
    limits: Limits | None = None,
) -> Markup:
    """One method's picture with its legend, whether its parts add up, and its particulars; row=None: of all texts."""
    a = entry.attribution
    counted = unit_of(a, unit)
    if row is None:
        views: Any = [view_of(a, sample, r) for r in range(len(a.texts or ()))]
        drawn = text.rows(views, counted, is_signed(a, a.tensor.detach().cpu().double().numpy()))
        notes: list[str | None] = [*a.notes]
    else:
        view = view_of(a, sample, row)
        draw: Any = {Map: image.fragment, Words: text.fragment, Bars: table.fragment}[type(view)]
        drawn = draw(view, counted, is_signed(a, row_of(a, row)), limits)
        notes = [balance(a, answer, entry.baseline, unit, row), settled(a, row), noise(a, row), *a.notes]
    options = ", ".join(f"{key} = {value}" for key, value in a.options.items()) or "none"
    facts = [
        ("time", f"{a.seconds:.2f} s, {rows_told(a.rows)} through the model"),
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
