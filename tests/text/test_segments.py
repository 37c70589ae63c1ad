"""Words and sentences of every script, and the words that pieces make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enodo.text.pieces import merged
from enodo.text.segments import is_right_to_left, owners, sentences, words


def written(text: str, spans: list[tuple[int, int]]) -> list[str]:
    return [text[a:b] for a, b in spans]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: it's o'clock.", ["Don't", "stop", "it's", "o'clock"]),
        ("well-made, 3.14 and 'quoted'", ["well", "made", "3", "14", "and", "quoted"]),
        ("sản_phẩm này tốt", ["sản_phẩm", "này", "tốt"]),
        ("e\u0301te\u0301 हिन्दी", ["e\u0301te\u0301", "हिन्दी"]),
        ("مرحبا، بالعالم", ["مرحبا", "بالعالم"]),
        ("so 👨‍👩‍👧 and 👍🏽 and 🇻🇳🇫🇷!", ["so", "👨‍👩‍👧", "and", "👍🏽", "and", "🇻🇳", "🇫🇷"]),
        ("", []),
        (" .,! ", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert written(text, words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good. Bad! Why?", ["Good.", "Bad!", "Why?"]),
        ("3.14 is pi. \u201cTrue.\u201d So", ["3.14 is pi.", "\u201cTrue.\u201d", "So"]),
        ("一。二！three", ["一。", "二！", "three"]),
        ("one\n\ntwo", ["one", "two"]),
        ("", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert written(text, sentences(text)) == expected


def test_tokens_that_share_a_word_a_letter_or_nothing() -> None:
    text = "unable! 这好 😀"
    spans = [None, (0, 2), (2, 6), (6, 7), (8, 9), (9, 10), (11, 12), (11, 12), (11, 12), None]
    assert owners(spans, text, "word") == [None, 0, 0, 1, 2, 3, 4, 4, 4, None]
    assert owners([(0, 0), (0, 2), (2, 3)], "这好了", "word") == [0, 0, 1]  # an empty piece goes with the next
    assert owners([(0, 4), (4, 4), (4, 5)], "word!", "word") == [0, 0, 1]  # or the last
    two = "One. Two, three."
    assert owners([(0, 3), (3, 4), (5, 8), (8, 9), (10, 15), (15, 16)], two, "sentence") == [0, 0, 1, 1, 1, 1]
    assert owners([], "", "word") == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=12), st.text("ab' .这\u0301", max_size=60))
def test_every_token_has_a_unit_and_they_are_counted_in_order(steps: list[tuple[int, int]], text: str) -> None:
    at, spans = 0, []
    for gap, length in steps:
        spans.append((min(at + gap, len(text)), min(at + gap + length, len(text))))
        at += gap + length
    for level in ("word", "sentence"):
        found = owners(spans, text, level)
        assert sorted(set(found)) == list(range(len(set(found))))
        assert found == sorted(found)


@pytest.mark.parametrize(("text", "expected"), [("12 مرحبا film", True), ("film مرحبا", False), ("12!", False)])
def test_direction_of_writing(text: str, expected: bool) -> None:
    assert is_right_to_left(text) is expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["<s>", "sản_phẩm", "ng@@", "ột", "</s>"], ["<s>", "sản_phẩm", "ngột", "</s>"]),
        (["lov", "ely</w>", "film</w>"], ["lovely", "film"]),
        (["caf", "Ã©", "\u0120ðŁĺ", "Ģ", "\u0120film"], ["café", "😀", "film"]),
        (["\u2581caf", "<0xC3>", "<0xA9>", "\u2581x"], ["café", "x"]),
        (["[CLS]", "##x", "[SEP]"], ["[CLS]", "x", "[SEP]"]),
        (["##", "a"], ["##", "a"]),
        (["@@", "a", ""], ["@@", "a"]),
        (["a", "</w>"], ["a</w>"]),
        (["a", "\u2581"], ["a", "\u2581"]),
        ([], []),
    ],
)
def test_pieces_of_every_kind_make_words(tokens: list[str], expected: list[str]) -> None:
    found = merged(tokens)
    assert [w for w in found.words if w] == expected
    assert len(found.owner) == len(tokens)
