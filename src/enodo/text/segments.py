"""Where the words and sentences of a text are: character spans, for any script.

A word is a run of letters, digits, marks and underscores (Vietnamese segmenters write `sản_phẩm`), held together by
apostrophes between letters; an emoji with all that is joined to it is one too. Scripts written without spaces have no
such words: there each token stands for itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

Span = tuple[int, int]

# Thai and Lao, Myanmar, Khmer, kana, Han and its extensions
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_APOSTROPHES = "'\u2019"
_JOINER, _STYLE, _TONES = "\u200d", "\ufe0f", "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FULL_STOP = re.compile(
    "[.!?\u2026\u0964\u061f]+[\"'\u201d\u2019)\\]\u00bb]*(?=\\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\uff09]*|\n\\s*"
)


def is_unspaced(text: str) -> bool:
    """Whether any letter is of a script that is written without spaces between words."""
    return _UNSPACED.search(text) is not None


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left, as Arabic and Hebrew do."""
    return next((d != "L" for d in map(unicodedata.bidirectional, text) if d in ("L", "R", "AL")), False)


def words(text: str) -> list[Span]:
    """The spans of the words; what lies between them (spaces, marks) belongs to none."""
    out: list[Span] = []
    i = 0
    while i < len(text):
        end = _word_end(text, i) if text[i].isalnum() or text[i] == "_" else _emoji_end(text, i)
        if end > i:
            out.append((i, end))
        i = max(end, i + 1)
    return out


def _word_end(text: str, i: int) -> int:
    """Where the word that begins at `i` ends."""
    while i < len(text):
        c = text[i]
        joins = c in _APOSTROPHES and text[i - 1].isalpha() and text[i + 1 : i + 2].isalpha()
        if not (c.isalnum() or c == "_" or unicodedata.category(c)[0] == "M" or c in "\u200c\u200d" or joins):
            break
        i += 1
    return i


def _emoji_end(text: str, i: int) -> int:
    """Where the emoji at `i` ends, with its style, tone, flag half and all that is joined to it; `i` for none."""
    if unicodedata.category(text[i]) != "So":
        return i
    flag = "\U0001f1e6" <= text[i] <= "\U0001f1ff" and "\U0001f1e6" <= text[i + 1 : i + 2] <= "\U0001f1ff"
    i += 2 if flag else 1
    while i < len(text) and (text[i] in _STYLE + _TONES or (text[i] == _JOINER and i + 1 < len(text))):
        i += 2 if text[i] == _JOINER else 1
    return i


def sentences(text: str) -> list[Span]:
    """The spans of the sentences, which end at full stops, question and exclamation marks and line breaks."""
    ends = [m.end() for m in _FULL_STOP.finditer(text)]
    out = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        left, right = start + len(part) - len(part.lstrip()), start + len(part.rstrip())
        if right > left:
            out.append((left, right))
    return out


def owners(spans: Sequence[Span | None], text: str, level: str) -> list[int | None]:
    """For each token's span the number of its unit ("word" or "sentence"), from 0; None for a token without a span.

    Tokens in one unit share a number, and so do tokens that share a character, which may be cut into bytes. What lies
    between words is a unit for each token; what lies between sentences belongs to the one before.
    """
    units = words(text) if level == "word" else sentences(text)
    number: list[int | None] = []
    count, last, begun, ended, k = -1, -1, 0, 0, 0
    for span in spans:
        if span is None:
            number.append(None)
            continue
        start, end = span
        while k < len(units) and units[k][1] <= start:
            k += 1
        unit = k if k < len(units) and units[k][0] < max(end, start + 1) else -1
        one = unit == last != -1 and not is_unspaced(text[start:end])
        same = unit in (-1, last) if level == "sentence" else one
        touches = start == ended and (start == end or begun == ended)  # a piece without letters goes with its neighbour
        if count < 0 or not (same or start < ended or touches):
            count, begun, ended, last = count + 1, start, end, unit
        else:
            ended, last = max(ended, end), unit if unit >= 0 else last
        number.append(count)
    return number
