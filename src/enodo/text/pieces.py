"""The pieces that tokenizers cut words into, and the words they make when nothing but the pieces is known.

Understood are WordPiece ("##" continues a word), SentencePiece ("\u2581" starts one), byte-level BPE ("\u0120" starts
one, and letters stand for bytes), and the BPE of subword-nmt and fastBPE ("@@" is continued) and of CLIP ("</w>" ends
a word). Which rules a list of tokens follows is told by its marks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

STARTS = "\u2581\u0120\u010a\u0109"  # of SentencePiece; a space, a line break and a tab of byte-level BPE
ADDED = re.compile(r"\[[A-Z]{2,8}\d*\]|<\|?/?[A-Za-z][A-Za-z0-9_]{0,30}\|?>")  # [CLS], <s>, </s>, <|endoftext|>
LOOKS_ADDED = frozenset(
    "[CLS] [SEP] [PAD] [MASK] [BOS] [EOS] <s> </s> <pad> <mask> <bos> <eos> <cls> <sep> <|endoftext|>".split()
)
_HEX = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Pieces:
    """Words in reading order: `owner[i]` is the word of token i; `added` marks what the tokenizer put in itself."""

    words: list[str]
    added: list[bool]
    owner: list[int]


def merged(tokens: Sequence[str]) -> Pieces:
    """The words that tokens are pieces of."""
    starting = any(t[:1] in STARTS and len(t) > 0 for t in tokens)
    ending = any(t.endswith("</w>") for t in tokens)
    letters = _bytewise(tokens)
    words: list[list[str]] = []
    added: list[bool] = []
    owner: list[int] = []
    open_ = False  # whether the word before is continued by what has no mark
    for token in tokens:
        alone = token in LOOKS_ADDED
        if alone:
            glued = False
        elif starting:
            glued = token[:1] not in STARTS
        else:
            glued = token.startswith("##") or open_
        if glued and words and not added[-1]:
            words[-1].append(token)
        else:
            words.append([token])
            added.append(alone)
        open_ = not alone and (not token.endswith("</w>") if ending else (token.endswith("@@") and len(token) > 2))
        owner.append(len(words) - 1)
    shown = [w[0] if a else printed(w, letters) or w[0] for w, a in zip(words, added, strict=True)]
    return Pieces(shown, added, owner)


def printed(tokens: Sequence[str], letters: bool = False) -> str:
    """The text of the pieces of one word, without their marks; `letters`: they are letters that stand for bytes."""
    bare = [bare_of(t) for t in tokens]
    if any(_HEX.fullmatch(t) for t in bare):
        raw = b"".join(bytes([int(m[1], 16)]) if (m := _HEX.fullmatch(t)) else t.encode() for t in bare)
        return raw.decode("utf-8", errors="replace")
    text = "".join(bare)
    return from_letters(text) if letters else text


def bare_of(token: str) -> str:
    """One token without its marks."""
    if token.startswith("##") and len(token) > 2:
        return token[2:]
    for mark in ("@@", "</w>"):
        if token.endswith(mark) and len(token) > len(mark):
            return token.removesuffix(mark)
    return token.lstrip(STARTS)


def _bytewise(tokens: Sequence[str]) -> bool:
    """Whether the tokens are those of a byte-level BPE: marked as such, and made of nothing but letters for bytes."""
    alphabet = _byte_of()
    return any(t[:1] in "\u0120\u010a" for t in tokens if t) and all(
        c in alphabet for t in tokens if t not in LOOKS_ADDED and not ADDED.fullmatch(t) for c in t
    )


def from_letters(text: str) -> str:
    """The text whose bytes these letters stand for; cut characters are shown as a replacement mark."""
    table = _byte_of()
    if any(c not in table for c in text):
        return text
    return bytes(table[c] for c in text).decode("utf-8", errors="replace")


@functools.cache
def _byte_of() -> dict[str, int]:
    """Letter -> byte of byte-level BPE: printable Latin-1 is itself, every other byte the next letter from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}
