"""Words laid out in lines of letters of equal width: where each stands, also where writing runs from right to left."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enodo.show.tokens import Words
from enodo.text.segments import is_right_to_left, is_unspaced

_SPACES = re.compile(r"(\s+)")
UNREAD = -1  # in the place of a word's index: what the model did not read


@dataclass(frozen=True)
class Piece:
    """Letters in a line, from a column on; `word` is the index of the word that they are of."""

    column: int
    text: str
    word: int

    @property
    def width(self) -> int:
        return width(self.text)


def width(text: str) -> int:
    """How many columns a text takes: letters of East Asian width two, marks and joiners none."""
    return sum(map(_columns, text))


def _columns(c: str) -> int:
    if c.isascii():
        return 1
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def lines(view: Words, columns: int) -> list[list[Piece]]:
    """The lines of a text; those that run from right to left begin at the right end."""
    backwards = is_right_to_left("".join(view.words))
    out = []
    for line in _broken(view, columns):
        placed: list[Piece] = []
        x = 0
        for text, word, gap in _as_seen(line, backwards):
            x += int(gap and bool(placed))
            placed.append(Piece(x, text, word))
            x += width(text)
        shift = columns - x if backwards else 0
        out.append([Piece(p.column + shift, p.text, p.word) for p in placed])
    return out


Run = tuple[str, int, bool]  # letters, the word they are of, whether a space stands before them


def _broken(view: Words, columns: int) -> Iterator[list[Run]]:
    """Lines in the order of reading, broken at spaces, and within what is wider than a line."""
    line: list[Run] = []
    x = 0
    for block in _blocks(view):
        if block is None:
            yield line
            line, x = [], 0
            continue
        size = sum(width(text) for text, _, _ in block)
        if line and x + size + int(block[0][2]) > columns:
            yield line
            line, x = [], 0
        for text, word, gap in block:
            for part, first in _fitting(text, columns):
                if line and x + width(part) + (gap and first) > columns:
                    yield line
                    line, x = [], 0
                x += width(part) + int(gap and first and bool(line))
                line.append((part, word, gap and first))
    yield line


def _fitting(text: str, columns: int) -> Iterator[tuple[str, bool]]:
    """A word in parts that fit a line, and whether each is the first."""
    if width(text) <= columns:
        yield text, True
        return
    part, first = "", True
    for c in text:
        if width(part + c) > columns:
            yield part, first
            part, first = "", False
        part += c
    yield part, first


def _blocks(view: Words) -> Iterator[list[Run] | None]:
    """What is not to be broken: pieces with no space between them; None where the text begins a new line."""
    block: list[Run] = []
    for run in _runs(view):
        apart = run is None or run[2] or (block and is_unspaced(block[-1][0][-1:] + run[0][:1]))
        if apart and block:
            yield block
            block = []
        if run is None:
            yield None
        else:
            block.append(run)
    if block:
        yield block


def _runs(view: Words) -> Iterator[Run | None]:
    """The words and what stands between them, in the order of reading; None for a line break."""
    for i, between in enumerate([*view.leads, view.after]):
        gap = False
        for part in _SPACES.split(between):
            if part.isspace():
                gap = True
                yield from [None] * part.count("\n")
            elif part:
                yield part, UNREAD, gap
                gap = False
        if i < len(view.words):
            yield view.words[i], i, gap


def _as_seen(line: Sequence[Run], backwards: bool) -> Iterator[Run]:
    """The pieces of a line from left to right: runs against the direction of the text are turned round.

    A piece without a direction of its own takes that of its neighbours, where they agree, or that of the text.
    """
    own = [_direction(text) for text, _, _ in line]
    runs: list[list[int]] = []
    ways: list[bool] = []
    for i, way in enumerate(own):
        before = ways[-1] if ways else backwards
        after = next((d for d in own[i:] if d is not None), backwards)
        ways.append(way if way is not None else before if before == after else backwards)
        if i and ways[i] == ways[i - 1]:
            runs[-1].append(i)
        else:
            runs.append([i])
    ordered = [run[::-1] if ways[run[0]] else run for run in (runs[::-1] if backwards else runs)]
    seen = [i for run in ordered for i in run]
    for n, i in enumerate(seen):
        text, word, _ = line[i]
        beside = seen[n - 1] if n else i
        yield text, word, line[max(i, beside)][2] if abs(i - beside) == 1 else n > 0


def _direction(text: str) -> bool | None:
    """Whether a piece runs from right to left; None for digits and marks, which run with their neighbours."""
    kinds = [unicodedata.bidirectional(c) for c in text]
    if any(k in ("R", "AL") for k in kinds):
        return True
    return False if "L" in kinds else None
