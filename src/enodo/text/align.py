"""Where tokens stand in a text, for tokenizers that do not tell: each is looked for where the one before it ended."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from enodo.text.pieces import printed
from enodo.text.segments import Span

AHEAD = 64  # letters beyond the end of the last token at which the next may begin


def aligned(tokens: Sequence[str], text: str, unknown: str | None = None) -> list[Span]:
    """The span of each token in `text`.

    Compared are letters without case, accents and width, since tokenizers change these. An `unknown` token stands for
    what lies between its neighbours; a token that is not found gets an empty span.
    """
    letters, places = _plain(text)
    out: list[Span] = []
    at = 0
    waiting: list[int] = []  # unknown tokens whose end the next token that is found will tell
    for token in tokens:
        wanted = "" if token == unknown else _plain(printed([token]))[0]
        found = letters.find(wanted, at, at + AHEAD + len(wanted)) if wanted else -1
        if token == unknown:
            waiting.append(len(out))
            out.append((len(text), len(text)))
        elif found < 0:
            here = _place(places, at, text)
            out.append((here, here))
        else:
            _settle(waiting, out, text, _place(places, at, text), _place(places, found, text))
            out.append((places[found], places[found + len(wanted) - 1] + 1))
            at = found + len(wanted)
    _settle(waiting, out, text, _place(places, at, text), len(text))
    return out


def _place(places: Sequence[int], i: int, text: str) -> int:
    return places[i] if i < len(places) else len(text)


def _settle(waiting: list[int], out: list[Span], text: str, start: int, end: int) -> None:
    """Give unknown tokens the words between their neighbours: one each, and what is left to the last of them."""
    for k, i in enumerate(waiting, 1):
        while start < end and text[start].isspace():
            start += 1
        stop = start
        while stop < end and not text[stop].isspace():
            stop += 1
        if k == len(waiting):
            stop = max(stop, start + len(text[start:end].rstrip()))
        out[i] = (start, stop)
        start = stop
    waiting.clear()


def _plain(text: str) -> tuple[str, list[int]]:
    """Letters as they are compared, without spaces, and where each came from."""
    letters: list[str] = []
    places: list[int] = []
    for i, c in enumerate(text):
        for part in unicodedata.normalize("NFKD", c).casefold():
            if not part.isspace() and unicodedata.category(part)[0] not in "MC":
                letters.append(part)
                places.append(i)
    return "".join(letters), places
