"""Texts as HTML: each word on a ground of red (for) or blue (against, and underlined too), the deeper the stronger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from enodo.show.markup import Markup, el, join
from enodo.show.scale import Limits, Scale, limit_for, number, scale_of
from enodo.show.table import legend
from enodo.show.textplot import draw, size_of
from enodo.show.tokens import Array, Facts, Words

__all__ = ["draw", "fragment", "rows", "size_of", "written"]

LEVELS = 10  # depths of colour: classes l0 .. l10 of the style sheet, so that the page needs no style attributes
LISTED = 200  # words whose numbers are listed


def fragment(view: Words, unit: str, signed: bool = True, limits: Limits | None = None) -> Markup:
    """The text as HTML; a word's number shows on hovering, and the words by strength in a table that opens."""
    scale = scale_of(view.values, 0.0, signed, limit_for(view.values, limits))
    facts = told(view.facts) if view.facts else None
    return join(facts, written(view, scale), legend(scale, f"{unit} per word"), remark(view.values), ranking(view))


def rows(views: Sequence[Words], unit: str, signed: bool = True, shared: bool = True) -> Markup:
    """Several texts, each with what is told of it; `shared`: on one scale, so that they can be compared."""
    one = scale_of(np.concatenate([np.zeros(1), *(v.values for v in views)]), 0.0, signed) if shared else None
    parts = []
    for view in views:
        scale = one or scale_of(view.values, 0.0, signed)
        own = None if shared else legend(scale, f"{unit} per word")
        facts = told(view.facts) if view.facts else None
        parts.append(el("li", facts, written(view, scale), own, remark(view.values), ranking(view)))
    below = None if one is None else legend(one, f"{unit} per word, on one scale for all")
    return join(el("ol", *parts, class_="texts"), below)


def told(facts: Facts) -> Markup:
    """What is known of a text, in one line that breaks where it must."""
    parts = [el("span", f"{name}: ", el("strong", value)) for name, value in facts.told()]
    return el("p", *(join(" " if i else None, part) for i, part in enumerate(parts)), class_="told")


def written(view: Words, scale: Scale) -> Markup:
    """The words on their grounds, with all that stands between them; the direction of writing is the text's own."""
    shares = np.nan_to_num(scale.share(view.values))
    levels = np.rint(np.abs(shares) * LEVELS).astype(int).tolist()
    pieces: list[Markup] = []
    items = zip(view.leads, view.words, view.special, view.values.tolist(), shares.tolist(), levels, strict=True)
    for lead, word, added, value, share, level in items:
        if lead:
            pieces.append(el("span", lead, class_="unread") if lead.strip() else join(lead))
        sign = "zero" if level == 0 else "pos" if share > 0 else "neg"
        classes = f"w {sign} l{level}" + (" added" if added else "")
        pieces.append(el("span", word, class_=classes, title=f"{word}: {number(value)}"))
    if view.after:
        pieces.append(el("span", view.after, class_="unread"))
    return el("p", *pieces, class_="words", dir="auto", lang="")


def remark(values: Array) -> Markup | None:
    """A sentence where there is nothing to see, or no number to draw."""
    missing = int(np.isnan(values).sum())
    if missing:
        return el("p", f"{missing:,} values are not a number; those words are drawn without colour.", class_="fine")
    return None if values.any() else el("p", "Every value is zero: no word moved this score.", class_="fine")


def ranking(view: Words, count: int = LISTED) -> Markup:
    """Words by strength with their numbers, closed at first: for exact reading, and for who cannot see colours."""
    order = np.argsort(-np.nan_to_num(np.abs(view.values)), kind="stable")
    rows = [
        el("tr", el("td", view.words[i], dir="auto"), el("td", number(float(view.values[i])), class_="num"))
        for i in order[:count]
    ]
    head = el("tr", el("th", "word", scope="col"), el("th", "attribution", scope="col", class_="num"))
    table = el("table", el("thead", head), el("tbody", *rows))
    rest = order[count:]
    left = f"{len(rest):,} weaker words, together {number(float(np.nansum(view.values[rest])))}, are not listed."
    return el("details", el("summary", "Words by strength"), table, el("p", left, class_="fine") if len(rest) else None)
