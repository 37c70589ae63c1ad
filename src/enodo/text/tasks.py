"""Answers within a text: the class of a word, and the stretch of a context that answers a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import tree as trees
from enodo.core.errors import refuse
from enodo.text.batch import Batch, each
from enodo.text.classify import ClassExplainer, probabilities
from enodo.text.explainer import TextExplainer
from enodo.text.reading import Reading
from enodo.text.result import TextAttribution, joined

LONGEST = 30  # tokens of an answer to a question


@dataclass(frozen=True)
class Tag:
    """A word and the class that a model gives it; its characters are text[start:end]."""

    text: str
    label: str
    probability: float
    start: int
    end: int


class TokenClassifierExplainer(ClassExplainer):
    """Why a word got its class (a name, a part of speech ...): of a word in several tokens, the first is explained."""

    def __call__(
        self, text: Any, pair: Any = None, *, word: Any, target: Any = "predicted", label: Any = None, **how: Any
    ) -> TextAttribution:
        """Explain the class of a word of a text, or one in each of several texts.

        word    the word as it is written (its first occurrence), or the characters (start, end); one, or a list with
                one for each text
        target  "predicted", a class by name or number, or one of these for each text
        label   the recorded class, as `target`, for the reader only
        how     as `TextExplainer.about` has it
        """
        batch = self.batch(text, pair)
        count = len(batch.readings)
        words, targets, labels = each(word, count, "word"), each(target, count, "target"), each(label, count, "label")
        places = [self._place(r, w) for r, w in zip(batch.readings, words, strict=True)]

        def settle(part: Batch, rows: Sequence[int]) -> tuple[Any, list[Reading]]:
            goals, found = [], []
            for reading, row, scores in zip(part.readings, rows, self.outputs(part), strict=True):
                answer = scores[places[row]]
                goal = int(answer.argmax()) if targets[row] == "predicted" else self.index(targets[row], len(answer))
                goals.append((places[row], goal))
                span = reading.spans[places[row]]
                written = "" if span is None else self._written(reading, span)
                told = None if labels[row] is None else self.name(labels[row])
                wanted = f"{written}: {self.name(goal)}"
                found.append(replace(reading, **self.said(answer), target=wanted, label=told))
            return goals, found

        return self.explain(batch, settle, **how)

    def tags(self, text: str, pair: str | None = None) -> list[Tag]:
        """The class of every word of a text, by its first token."""
        batch = self.batch(text, pair)
        scores = self.outputs(batch)[0]
        reading, out = batch.readings[0], []
        for part in reading.parts([0.0] * len(reading.tokens)):
            if not part.added:
                shares = probabilities(scores[part.tokens[0]])
                best = int(shares.argmax())
                out.append(Tag(part.text, self.name(best), float(shares[best]), part.start, part.end))
        return out

    @staticmethod
    def _written(reading: Reading, span: tuple[int, int, int]) -> str:
        """The whole word that a token is of."""
        parts = reading.parts([0.0] * len(reading.tokens))
        return next(p.text for p in parts if p.segment == span[0] and p.start <= span[1] and span[2] <= p.end)

    @staticmethod
    def _place(reading: Reading, word: Any) -> int:
        """The first token of a word."""
        segment, start, end = stretch(reading, word, "word")
        found = reading.inside(segment, start, end)
        if not found:
            refuse("word", repr(word), "a word that the model reads", "It lies beyond the last token read.")
        return found[0]


class QuestionAnswerExplainer(TextExplainer):
    """Why a stretch of a context is the answer to a question: what in both spoke for where it starts and ends."""

    def __call__(self, question: Any, context: Any, *, answer: Any = None, **how: Any) -> TextAttribution:
        """Explain the answer to a question, or to each of several: the sum of the scores of its start and its end.

        answer  what to explain in the place of the model's own answer: words of the context, or the characters
                (start, end); one, or a list with one for each question
        how     as `TextExplainer.about` has it
        """
        batch = self.batch(question, context)
        answers = each(answer, len(batch.readings), "answer")
        parts = []
        for row in range(len(batch.readings)):
            part = batch.take([row])
            ends = [t[0].detach().cpu() for t in _ends(self.output(part))]
            best = self._best(part.readings[0], *ends)
            first, last = best if answers[row] is None else self._given(part.readings[0], answers[row])

            def score(output: Any, first: int = first, last: int = last) -> Tensor:
                begin, end = _ends(output)
                return begin[:, first] + end[:, last]

            shares = ends[0].softmax(0)[best[0]] * ends[1].softmax(0)[best[1]]
            said = replace(
                part.readings[0], prediction=_words(part.readings[0], *best), probability=float(shares),
                target=_words(part.readings[0], first, last),
            )  # fmt: skip
            parts.append(([row], self.about(part, [said], score, **how)))
        return parts[0][1] if len(parts) == 1 else joined(parts)

    @staticmethod
    def _best(reading: Reading, begin: Tensor, end: Tensor) -> tuple[int, int]:
        """The tokens of the context that the best answer starts and ends with."""
        inside = torch.tensor([span is not None and span[0] == 1 for span in reading.spans])
        if not inside.any():
            refuse(
                "context", repr(reading.segments[-1][:40]), "a context that the model reads", "The question is long."
            )
        scores = begin[:, None] + end[None, :]
        allowed = (inside[:, None] & inside[None, :]).triu().tril(LONGEST - 1)
        first, last = divmod(int(scores.masked_fill(~allowed, float("-inf")).argmax()), len(end))
        return first, last

    @staticmethod
    def _given(reading: Reading, answer: Any) -> tuple[int, int]:
        segment, start, end = stretch(reading, answer, "answer", 1)
        found = reading.inside(segment, start, end)
        if not found:
            refuse("answer", repr(answer), "words of the context that the model reads")
        return found[0], found[-1]


def stretch(reading: Reading, what: Any, argument: str, segment: int | None = None) -> tuple[int, int, int]:
    """(segment, start, end) of words as they are written, or of characters (start, end)."""
    among = range(len(reading.segments)) if segment is None else [segment]
    if isinstance(what, str) and what:
        for number in among:
            at = reading.segments[number].find(what)
            if at >= 0:
                return number, at, at + len(what)
        refuse(argument, repr(what), f"words of {reading.segments[among[0]][:60]!r}")
    if isinstance(what, tuple) and len(what) == 2 and all(isinstance(i, int) for i in what) and what[0] < what[1]:
        return among[0], *what
    return refuse(argument, what, "words as they are written, or the characters (start, end)")


def _ends(output: Any) -> tuple[Tensor, Tensor]:
    """The scores (B, T) of where an answer starts and ends."""
    found = [t for t in (getattr(output, name, None) for name in ("start_logits", "end_logits")) if t is not None]
    if len(found) != 2:
        found = [t for _, t in trees.leaves(output) if isinstance(t, Tensor) and t.ndim == 2]
    if len(found) != 2:
        refuse("model", "a model without the scores of starts and ends", "one that answers questions from a context")
    return found[0], found[1]


def _words(reading: Reading, first: int, last: int) -> str:
    """The text from one token to another."""
    begin, end = reading.spans[first], reading.spans[last]
    if begin is None or end is None:
        return reading.tokens[first]
    return reading.segments[begin[0]][begin[1] : end[2]]
