"""`Words`: what there is to draw of a text, as it was written where that is known, else put together from tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show.scale import number
from enodo.show.words import scalar, share_of
from enodo.text.pieces import merged
from enodo.text.reading import Reading
from enodo.text.segments import is_unspaced

if TYPE_CHECKING:
    from enodo.core.result import Attribution
    from enodo.show.sample import Sample

Array = np.ndarray[Any, Any]

GAP = 4000  # letters drawn of a stretch that the model did not read


@dataclass(frozen=True)
class Facts:
    """What is told of a text beside its words; what is not known is left out."""

    prediction: str | None = None
    probability: float | None = None  # of the prediction
    label: str | None = None  # the recorded answer
    target: str | None = None  # what is explained
    score: float | None = None  # of the target
    gap: str | None = None  # how far the words are from adding up to the score

    def told(self) -> list[tuple[str, str]]:
        """(what, how much) in the order of reading."""
        share = "" if self.probability is None else f" ({self.probability:.1%})"
        differs = " (not the prediction)" if self.label and self.prediction and self.label != self.prediction else ""
        found = [
            ("Prediction", self.prediction and self.prediction + share),
            ("Recorded", self.label and self.label + differs),
            ("Explained", self.target),
            ("Score", None if self.score is None else number(self.score, False)),
            ("Gap", self.gap),
        ]
        return [(name, value) for name, value in found if value]


@dataclass(frozen=True)
class Words:
    """Attributions of the words of a text, in reading order; `special` marks tokens the tokenizer added."""

    words: list[str]
    special: list[bool]
    values: Array  # (W,)
    before: list[str] | None = None  # what stands before each word in the text; guessed where it is not known
    after: str = ""  # what stands after the last
    facts: Facts | None = None

    @property
    def leads(self) -> list[str]:
        """What stands before each word: space mostly, and what no token stands for."""
        if self.before is not None:
            return self.before
        return [" " if word.startswith(" ") else "" for word in spaced(self.words)]


def words_of(tokens: list[str], scores: Array) -> Words:
    """The words that tokens are pieces of; the scores of the pieces are added."""
    found = merged(tokens)
    return Words(found.words, found.added, np.bincount(found.owner, scores, len(found.words)))


def words_in(reading: Reading, values: Sequence[float], facts: Facts | None = None) -> Words:
    """The words of a text as it was written; added tokens that got nothing are left out, unless all are such."""
    parts = reading.parts(values)
    shown = [p for p in parts if not p.added or p.value] or parts
    before: list[str] = []
    at, segment = 0, 0
    for part in shown:
        lead = ""
        if part.segment is not None:
            if part.segment != segment:  # the second text begins on a line of its own
                lead, at, segment = _cut(reading.segments[segment][at:]) + "\n", 0, part.segment
            lead += _cut(reading.segments[segment][at : part.start])
            at = max(at, part.end)
        before.append(lead or (" " if before and (part.added or shown[len(before) - 1].added) else ""))
    rest = _cut("\n".join([reading.segments[segment][at:], *reading.segments[segment + 1 :]])) if shown else ""
    words = [p.text if p.added else p.text or "\u2581" for p in shown]
    return Words(words, [p.added for p in shown], np.array([p.value for p in shown]), before, rest, facts)


def text_of(sample: Sample) -> str:
    """The text of a sample: as it was written, or else as its tokens read."""
    if sample.reading is not None:
        return _cut("\n".join(sample.reading.segments))
    words = merged(sample.tokens)
    return "".join(spaced([w for w, added in zip(words.words, words.added, strict=True) if not added])).strip()


def _cut(text: str) -> str:
    return text if len(text) <= GAP else f"{text[:GAP]} \u2026"


def reading_of(attribution: Attribution, row: int) -> Reading | None:
    """The text of a row, where the attribution knows it."""
    return Reading.of(attribution.texts[row]) if attribution.texts else None


def facts_of(attribution: Attribution, row: int) -> Facts:
    """What an attribution of one target tells of a row."""
    reading = reading_of(attribution, row) or Reading((), (), ())
    score, start, gap = (scalar(v, row) for v in (attribution.scores, attribution.baseline_scores, attribution.delta))
    target, names = attribution.target, attribution.class_names
    index = target[row] if isinstance(target, list) and len(target) > row else target
    named = names[index] if names and isinstance(index, int) and -len(names) <= index < len(names) else None
    left = None
    if gap is not None and score is not None and start is not None:
        left = share_of(gap, score - start).replace("less than", "<")
    return Facts(reading.prediction, reading.probability, reading.label, reading.target or named, score, left)


def spaced(words: list[str]) -> list[str]:
    """Words with the space that stands before each of them in print.

    There is none before closing marks, inside "don't", and in scripts that are written without.
    """
    out = []
    for before, word in itertools.pairwise(["", *words]):
        alone = is_unspaced(before[-1:]) and is_unspaced(word[:1])
        tight = (
            alone
            or not before
            or word[:1] in ".,;:!?)]}%\u2019'"
            or before[-1:] in "([{\u2019'"
            or "-" in (before, word)
        )
        out.append(word if tight else " " + word)
    return out
