"""`TextAttribution`: an Attribution of token ids that knows the texts, and can be read by words and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.result import Attribution
from enodo.text.reading import Part, Reading


class TextAttribution(Attribution):
    """One row a text; `tensor` is (B, T), (T', B, T) for several targets, with zeros where a row has no token.

    `words`, `sentences` and `pieces` give the parts of a text with what was attributed to them; each names its
    characters in the string that was given. `plot`, `to_html`, `save` are those of every Attribution.
    """

    @staticmethod
    def over(attribution: Attribution, readings: Sequence[Reading] | None = None) -> TextAttribution:
        """The attribution, read as that of texts; the readings are its own unless they are given."""
        found = TextAttribution(**{f.name: getattr(attribution, f.name) for f in fields(Attribution)})
        if readings is not None:
            found.texts = [reading.as_dict() for reading in readings]
            found.tokens = [list(reading.tokens) for reading in readings]
        if found.texts is None:
            refuse("attribution", "one that does not know its texts", "one that a text explainer made")
        return found

    @staticmethod
    def load(path: str | Path) -> TextAttribution:
        """Read what `save` wrote."""
        return TextAttribution.over(Attribution.load(path))

    @property
    def readings(self) -> list[Reading]:
        """The texts, each with its tokens and where they stand in it."""
        return [Reading.of(found) for found in self.texts or []]

    def pieces(self, row: int = 0, target: int = 0) -> list[Part]:
        """The tokens of a text."""
        return self.parts("token", row, target)

    def words(self, row: int = 0, target: int = 0) -> list[Part]:
        """The words of a text, those that the tokenizer added left out."""
        return self.parts("word", row, target)

    def sentences(self, row: int = 0, target: int = 0) -> list[Part]:
        """The sentences of a text."""
        return self.parts("sentence", row, target)

    def parts(self, level: str, row: int = 0, target: int = 0, added: bool = False) -> list[Part]:
        """The units of a text at a level, "token", "word" or "sentence"; `added`: those of the tokenizer as well."""
        found = self.readings[row].parts(self.row_values(row, target), level)
        return [p for p in found if added or not p.added]

    def total(self, start: int, end: int, row: int = 0, segment: int = 0, target: int = 0) -> float:
        """What was attributed to a stretch of characters: the sum over the tokens that it meets."""
        values = self.row_values(row, target)
        return float(sum(values[i] for i in self.readings[row].inside(segment, start, end)))

    def row_values(self, row: int = 0, target: int = 0) -> list[float]:
        """One number a token of a row; vectors (of an embedding, of a layer) are summed."""
        return values_of(self.tensor, len(self.readings[row].tokens), row, target, self.several)

    @property
    def several(self) -> bool:
        """Whether several targets were asked about."""
        return self.scores is not None and self.scores.ndim > 1


def values_of(t: Tensor, tokens: int, row: int, target: int = 0, several: bool = False) -> list[float]:
    """The values of one row of (B, T), (B, T, ...), led by targets where there are `several`, one number a token."""
    t = t.detach().to("cpu").double()
    t = (t[target] if several else t)[row]
    return t.reshape(t.shape[0], -1).sum(1)[:tokens].tolist()


def joined(parts: Sequence[tuple[Sequence[int], TextAttribution]]) -> TextAttribution:
    """One answer from those about some of the rows each, given with the rows' numbers."""
    first = parts[0][1]
    order = torch.tensor([row for rows, _ in parts for row in rows]).argsort()
    lead = int(first.several)

    def rows_of(name: str) -> Any:
        found = [getattr(a, name) for _, a in parts]
        return None if found[0] is None else torch.cat(found, -1)[..., order]

    def filled(name: str) -> Any:
        found = [getattr(a, name) for _, a in parts]
        if found[0] is None:
            return None
        longest = max(t.shape[lead + 1] for t in found)
        wide = [
            torch.cat(
                [t, t.new_zeros(*t.shape[: lead + 1], longest - t.shape[lead + 1], *t.shape[lead + 2 :])], lead + 1
            )
            for t in found
        ]
        return torch.cat(wide, lead).index_select(lead, order.to(wide[0].device))

    values = {f.name: getattr(first, f.name) for f in fields(Attribution)}
    values |= {name: rows_of(name) for name in ("scores", "baseline_scores", "delta", "error")}
    values |= {name: filled(name) for name in ("values", "stderr")}
    values["seconds"] = sum(a.seconds for _, a in parts)
    values["rows"] = sum(a.rows for _, a in parts)
    values["notes"] = list(dict.fromkeys(note for _, a in parts for note in a.notes))
    texts = [text for _, a in parts for text in a.texts or []]
    targets = [a.target if isinstance(a.target, list) else [a.target] * len(rows) for rows, a in parts]
    flat = [t for some in targets for t in some]
    values["target"] = [flat[i] for i in order.tolist()] if not lead else first.target
    values["texts"] = [texts[i] for i in order.tolist()]
    values["tokens"] = [list(text["tokens"]) for text in values["texts"]]
    return TextAttribution(**values)
