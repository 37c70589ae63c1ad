"""Readings: where each token stands in the string that was given, whatever the tokenizer is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enodo.core.errors import BadArgument
from enodo.text.align import aligned
from enodo.text.pieces import printed
from enodo.text.reading import Reading, read
from tests.text.cutters import MADE, TEXTS

KINDS = [*MADE, "PhoBERT"]


def places(reading: Reading) -> list[tuple[str, str]]:
    """(token, letters that it stands for)."""
    pairs = zip(reading.tokens, reading.spans, strict=True)
    return [(t, "" if s is None else reading.segments[s[0]][s[1] : s[2]]) for t, s in pairs]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_letter_belongs_to_a_token_and_the_order_is_kept(
    tokenizers: dict[str, Any], kind: str, text: str
) -> None:
    reading, row = read(tokenizers[kind], text)
    spans = [s for s in reading.spans if s is not None]
    assert len(reading.tokens) == len(row["input_ids"]) == len(row["attention_mask"])
    assert reading.spans[0] is None
    assert reading.spans[-1] is None
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(spans))
    covered = {i for _, start, end in spans for i in range(start, end)}
    left = [c for i, c in enumerate(text) if i not in covered and not c.isspace()]
    assert all(c in "\u200d\u0301\u0302" for c in left), (left, places(reading))  # what a normaliser takes away


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_the_text(tokenizers: dict[str, Any], kind: str, text: str) -> None:
    """The values add up, and every word of letters that the text has is there in one part, or within one."""
    reading, _ = read(tokenizers[kind], text)
    values = [float(i) for i in range(len(reading.tokens))]
    for level in ("token", "word", "sentence"):
        parts = reading.parts(values, level)
        assert sum(p.value for p in parts) == sum(values)
        assert sorted(i for p in parts for i in p.tokens) == list(range(len(values)))
    for word in text.split():
        if word.isascii() and word.isalpha():
            assert any(word in p.text for p in reading.parts(values))


def test_a_letter_in_several_bytes_is_one_word(tokenizers: dict[str, Any]) -> None:
    reading, _ = read(tokenizers["byte-level BPE"], "film😀 ok")
    assert [p.text for p in reading.parts([1.0] * len(reading.tokens)) if not p.added] == ["film", "😀", "ok"]


def test_rare_words_of_phobert_come_together(tokenizers: dict[str, Any]) -> None:
    reading, _ = read(tokenizers["PhoBERT"], "sản_phẩm ngột_ngạt  lắm 😀 quá")
    assert "ộ@@" in reading.tokens
    words = [p.text for p in reading.parts([0.0] * len(reading.tokens)) if not p.added]
    assert words == ["sản_phẩm", "ngột_ngạt", "lắm", "😀", "quá"]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(tokenizers: dict[str, Any], kind: str) -> None:
    reading, _ = read(tokenizers[kind], "is it lovely?", "the film was lovely")
    parts = [p for p in reading.parts([1.0] * len(reading.tokens)) if not p.added]
    assert [(p.segment, p.text) for p in parts if p.text == "lovely"] == [(0, "lovely"), (1, "lovely")]
    assert [p.segment for p in parts] == sorted(p.segment or 0 for p in parts)
    for first, second in (("", "film"), ("film", ""), ("", "")):
        empty, _ = read(tokenizers[kind], first, second)
        assert {s[0] for s in empty.spans if s} == {n for n, t in enumerate((first, second)) if t}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_added_tokens(tokenizers: dict[str, Any], kind: str) -> None:
    for text in ("", "   ", "\n"):
        reading, _ = read(tokenizers[kind], text)
        assert all(p.added or not p.text for p in reading.parts([0.0] * len(reading.tokens)))


@pytest.mark.parametrize("kind", KINDS)
def test_long_texts_are_cut_and_it_is_known_by_how_much(tokenizers: dict[str, Any], kind: str) -> None:
    text = "film " * 50
    whole, _ = read(tokenizers[kind], text)
    short, row = read(tokenizers[kind], text, limit=12)
    assert len(row["input_ids"]) == len(short.tokens) == 12
    assert short.unread == len(whole.tokens) - 12 > 0
    assert short.spans[1:11] == whole.spans[1:11]
    exact, _ = read(tokenizers[kind], text, limit=len(whole.tokens))
    assert exact.unread == 0


def test_a_token_that_the_text_spells_out_is_the_texts_own(tokenizers: dict[str, Any]) -> None:
    reading, _ = read(tokenizers["WordPiece"], "a [SEP] b")
    assert [s is None for s in reading.spans].count(True) == 2


@given(
    st.lists(st.sampled_from(["film", "Lovely", "café", "it's", "😀", "这部", "!", ",", "x1", "ü", "\n"]), max_size=12)
)
@settings(max_examples=30)
def test_looking_finds_what_a_fast_tokenizer_tells(words: list[str]) -> None:
    """Tokens of WordPiece and Metaspace looked for in the text stand where the tokenizer says that they do."""
    text = " ".join(words)
    for kind in ("WordPiece", "Metaspace"):
        cutter = CUTTERS.setdefault(kind, MADE[kind]())
        reading, _ = read(cutter, text)
        own = [(t, s) for t, s in zip(reading.tokens, reading.spans, strict=True) if s is not None]
        found = aligned([t for t, _ in own], text, cutter.unk_token)
        known = [(t, f, s[1:]) for (t, s), f in zip(own, found, strict=True) if t != cutter.unk_token and printed([t])]
        assert all(f == s for _, f, s in known), known


CUTTERS: dict[str, Any] = {}


def test_unknown_tokens_take_what_lies_between_their_neighbours() -> None:
    text = "the 😀😀 film ☃ ☂ end"
    found = aligned(["the", "[UNK]", "film", "[UNK]", "[UNK]", "end"], text, "[UNK]")
    assert [text[a:b] for a, b in found] == ["the", "😀😀", "film", "☃", "☂", "end"]
    assert aligned(["nowhere", "film"], "film", "[UNK]") == [(0, 0), (0, 4)]
    assert aligned(["[UNK]"], "", "[UNK]") == [(0, 0)]


def test_a_reading_survives_json(tokenizers: dict[str, Any]) -> None:
    import json

    reading, _ = read(tokenizers["WordPiece"], "film", "café")
    assert Reading.of(json.loads(json.dumps(reading.as_dict()))) == reading


def test_what_is_no_text_is_refused(tokenizers: dict[str, Any]) -> None:
    for text, pair in ((3, None), (["a"], None), ("a", 3), (None, None)):
        with pytest.raises(BadArgument, match="string"):
            read(tokenizers["WordPiece"], text, pair)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="level"):
        read(tokenizers["WordPiece"], "a")[0].owners("letter")
