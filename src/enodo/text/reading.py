"""`Reading`: one text as a model read it, each token with its place in the text; how a tokenizer's answer is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from enodo.core.errors import BadType, refuse
from enodo.text import segments as places
from enodo.text.align import aligned

Place = tuple[int, int, int]  # which of the segments, from which character, up to which


@dataclass(frozen=True)
class Part:
    """A stretch of a text: a token, word or sentence with what was attributed to it; `added` by the tokenizer."""

    text: str
    value: float
    segment: int | None  # 0 for the text, 1 for the second of a pair, None for what the tokenizer added
    start: int
    end: int
    tokens: tuple[int, ...]  # positions among the tokens

    @property
    def added(self) -> bool:
        return self.segment is None


@dataclass(frozen=True)
class Reading:
    """One text (or a pair) and its tokens, with what the model said about it where that is known.

    `spans[i]` is where token i stands, (segment, start, end), None for a token that the tokenizer added.
    """

    segments: tuple[str, ...]
    tokens: tuple[str, ...]
    spans: tuple[Place | None, ...]
    unread: int = 0  # tokens beyond the most that the model takes
    prediction: str | None = None
    probability: float | None = None  # of the prediction
    label: str | None = None  # the recorded answer, where there is one
    target: str | None = None  # what was explained

    @staticmethod
    def of(found: Mapping[str, Any]) -> Reading:
        """The inverse of `as_dict`."""
        spans = tuple(None if s is None else (int(s[0]), int(s[1]), int(s[2])) for s in found["spans"])
        return Reading(
            **{**found, "segments": tuple(found["segments"]), "tokens": tuple(found["tokens"]), "spans": spans}
        )

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    def owners(self, level: str) -> list[int | None]:
        """For each token the number of its "token", "word" or "sentence"; None for tokens that were added."""
        if level == "token":
            return [None if s is None else i for i, s in enumerate(self.spans)]
        if level not in ("word", "sentence"):
            refuse("level", repr(level), '"token", "word" or "sentence"')
        out: list[int | None] = [None] * len(self.spans)
        first = 0
        for number, text in enumerate(self.segments):
            mine = [s[1:] if s is not None and s[0] == number else None for s in self.spans]
            found = places.owners(mine, text, level)
            for i, owner in enumerate(found):
                out[i] = out[i] if owner is None else first + owner
            first += max((owner + 1 for owner in found if owner is not None), default=0)
        return out

    def parts(self, values: Sequence[float], level: str = "word") -> list[Part]:
        """The text's units in reading order with the sum of what `values`, one a token, give to each."""
        members: dict[Any, list[int]] = {}
        for i, owner in enumerate(self.owners(level)):
            members.setdefault(("added", i) if owner is None else owner, []).append(i)
        return [self._part(tokens, values) for tokens in members.values()]

    def _part(self, tokens: Sequence[int], values: Sequence[float]) -> Part:
        total = float(sum(values[i] for i in tokens))
        met = [s for s in (self.spans[i] for i in tokens) if s is not None]
        if not met:
            return Part(self.tokens[tokens[0]], total, None, 0, 0, tuple(tokens))
        segment, start, end = met[0][0], min(s[1] for s in met), max(s[2] for s in met)
        return Part(self.segments[segment][start:end], total, segment, start, end, tuple(tokens))

    def inside(self, segment: int, start: int, end: int) -> list[int]:
        """The tokens that stand at least partly in this stretch of characters."""
        return [
            i for i, s in enumerate(self.spans) if s is not None and s[0] == segment and s[1] < end and s[2] > start
        ]


def read(
    tokenizer: Any, text: str, pair: str | None = None, limit: int | None = None
) -> tuple[Reading, dict[str, list[int]]]:
    """A text as `tokenizer` cuts it, and what it gives the model (input_ids, attention_mask ...), one row each.

    Of more than `limit` tokens the last are left out; the Reading says how many.
    """
    for name, given in (("text", text), ("pair", pair)):
        if not isinstance(given, str) and not (name == "pair" and given is None):
            refuse(name, given, "a string", kind=BadType)
    texts = (text,) if pair is None else (text, pair)
    fast = bool(getattr(tokenizer, "is_fast", False))
    asked: dict[str, Any] = {"return_offsets_mapping": True} if fast else {}
    if limit is not None:
        asked |= {"truncation": True, "max_length": limit}
    found = tokenizer(*texts, return_special_tokens_mask=True, return_attention_mask=True, verbose=False, **asked)
    ids, added = list(found["input_ids"]), [bool(m) for m in found["special_tokens_mask"]]
    tokens = [str(t) for t in tokenizer.convert_ids_to_tokens(ids)]
    spans = _given(found, added, texts) if fast else _looked_for(tokenizer, added, texts)
    unread = 0
    if limit is not None and len(ids) >= limit:
        unread = len(tokenizer(*texts, verbose=False)["input_ids"]) - len(ids)
    named = {k: list(v) for k, v in found.items() if k not in ("special_tokens_mask", "offset_mapping")}
    return Reading(texts, tuple(tokens), tuple(spans), unread), named


def _given(found: Any, added: Sequence[bool], texts: Sequence[str]) -> Iterator[Place | None]:
    """The places that a fast tokenizer tells, without the spaces that some count as part of a token."""
    for (start, end), extra, segment in zip(found["offset_mapping"], added, found.sequence_ids(0), strict=True):
        if extra or segment is None:
            yield None
            continue
        covered = texts[segment][start:end]
        left = len(covered) - len(covered.lstrip())
        yield (segment, start + left, max(start + left, end - len(covered) + len(covered.rstrip())))


def _looked_for(tokenizer: Any, added: Sequence[bool], texts: Sequence[str]) -> list[Place | None]:
    """The places that the pieces of a slow tokenizer are found at; the tokens of a text stand between added ones."""
    out: list[Place | None] = [None] * len(added)
    rest = list(range(len(added)))
    for segment, text in enumerate(texts):
        while rest and added[rest[0]]:
            rest.pop(0)
        pieces = tokenizer.tokenize(text)
        run = list(itertools.takewhile(lambda i: not added[i], rest))[: len(pieces)]
        for i, span in zip(run, aligned(pieces[: len(run)], text, tokenizer.unk_token), strict=True):
            out[i] = (segment, *span)
        rest = rest[len(run) :]
    return out
