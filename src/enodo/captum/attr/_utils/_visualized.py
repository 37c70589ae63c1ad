"""Captum's coloured text: rows of words, labels and scores as an HTML table, with all that came from data escaped."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from enodo.core.errors import refuse
from enodo.show.markup import Markup, el, join

GREEN, PURPLE = 120, 285  # hues that colour-blind people tell apart; negative words are underlined as well


class VisualizationDataRecord:
    """What is told of one text: its words and their attributions, labels, probability, score, completeness gap."""

    __slots__ = (
        "attr_class",
        "attr_score",
        "convergence_score",
        "pred_class",
        "pred_prob",
        "raw_input_ids",
        "true_class",
        "word_attributions",
    )

    def __init__(
        self,
        word_attributions: Tensor,
        pred_prob: float,
        pred_class: int,
        true_class: int,
        attr_class: int,
        attr_score: float,
        raw_input_ids: list[str],
        convergence_score: float,
    ) -> None:
        self.word_attributions = word_attributions
        self.pred_prob = pred_prob
        self.pred_class = pred_class
        self.true_class = true_class
        self.attr_class = attr_class
        self.attr_score = attr_score
        self.raw_input_ids = raw_input_ids
        self.convergence_score = convergence_score


class Table(str):
    """HTML that shows itself in a notebook; `data` is its text, as in IPython's own class."""

    __slots__ = ()

    @property
    def data(self) -> str:
        """The HTML."""
        return str(self)

    def _repr_html_(self) -> str:
        return str(self)


def colour_of(value: float) -> str:
    """The ground of a word of attribution -1 .. 1: the darker the stronger, white for 0 or no number."""
    value = 0.0 if math.isnan(value) else max(-1.0, min(1.0, value))
    hue = GREEN if value > 0 else PURPLE
    return f"hsl({hue}, 75%, {100 - int((50 if value > 0 else 40) * abs(value))}%)"


def format_classname(classname: str | int) -> str:
    """A cell with the name of a class."""
    return el("td", el("text", el("b", classname), style="padding-right:2em"))


def format_special_tokens(token: str) -> str:
    """`<s>` as `#s`; other tokens as they are. Nothing is escaped here: that is done where HTML is made."""
    return "#" + token.strip("<>") if token.startswith("<") and token.endswith(">") else token


def format_tooltip(item: str, text: str) -> str:
    """An item that shows a text when pointed at."""
    return el("div", item, el("span", text, class_="tooltiptext"), class_="tooltip")


def format_word_importances(words: Sequence[str], importances: Sequence[float] | np.ndarray | Tensor) -> str:
    """A cell with the words, each on a ground that tells its importance, from -1 to 1."""
    if importances is None or len(importances) == 0:
        return Markup("<td></td>")
    if isinstance(importances, (np.ndarray, Tensor)) and importances.ndim != 1:
        refuse("importances", f"shape {tuple(importances.shape)}", "one dimension: a number for each word")
    if len(words) > len(importances):
        refuse("importances", f"{len(importances)} of them", f"one for each of {len(words)} words")
    return el("td", *(_word(word, float(value)) for word, value in zip(words, importances, strict=False)))


def _word(word: str, value: float) -> Markup:
    style = f"background-color: {colour_of(value)}; opacity:1.0; line-height:1.75"
    if value < 0:
        style += "; text-decoration: underline"
    return el("mark", el("font", f" {format_special_tokens(word)} ", color="black"), style=style)


def visualize_text(datarecords: Iterable[VisualizationDataRecord], legend: bool = True) -> Any:
    """An HTML table with a row for each record, shown where IPython runs; returns its HTML object, or `Table`."""
    titles = ("True Label", "Predicted Label", "Attribution Label", "Attribution Score", "Word Importance")
    rows = [el("tr", *(el("th", title) for title in titles))]
    for record in datarecords:
        cells = (
            format_classname(record.true_class),
            format_classname(f"{record.pred_class} ({record.pred_prob:.2f})"),
            format_classname(record.attr_class),
            format_classname(f"{record.attr_score:.2f}"),
            format_word_importances(record.raw_input_ids, record.word_attributions),
        )
        rows.append(el("tr", *map(Markup, cells)))
    page = join(_legend() if legend else None, el("table", *rows, style="width: 100%"))
    notebook: Any = sys.modules.get("IPython.display")  # imported wherever IPython runs
    if notebook is None:
        return Table(page)
    shown = notebook.HTML(page)
    notebook.display(shown)
    return shown


def _legend() -> Markup:
    parts: list[Markup] = []
    for value, label in ((-1, "Negative (underlined)"), (0, "Neutral"), (1, "Positive")):
        square = (
            f"display: inline-block; width: 10px; height: 10px; border: 1px solid; background-color: {colour_of(value)}"
        )
        parts.append(join(el("span", style=square), f" {label}  "))
    return el("div", el("b", "Legend: "), *parts, style="border-top: 1px solid; margin-top: 5px; padding-top: 5px")
