"""Answers within a text: the score that is explained is the model's own, and its words are those of the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from enodo.core.errors import BadArgument
from enodo.text import QuestionAnswerExplainer, TokenClassifierExplainer

TEXT = "nobody could say why the film was unbelievably lovely"
CONTEXT = "the film was lovely. films and cake: a view"


@pytest.fixture(scope="module")
def tags(bert: Any, tokenizers: dict[str, Any]) -> TokenClassifierExplainer:
    model = bert("TokenClassification", num_labels=3)
    return TokenClassifierExplainer(model, tokenizers["WordPiece"], classes=["O", "NAME", "PLACE"])


@pytest.fixture(scope="module")
def answers(bert: Any, tokenizers: dict[str, Any]) -> QuestionAnswerExplainer:
    return QuestionAnswerExplainer(bert("QuestionAnswering"), tokenizers["WordPiece"])


def test_the_class_of_a_word(tags: TokenClassifierExplainer) -> None:
    batch = tags.tokenizer(TEXT, return_tensors="pt")
    logits = tags.model(**batch).logits[0].detach()
    found = tags(TEXT, word="unbelievably", label="NAME")
    reading = found.readings[0]
    first = reading.inside(0, TEXT.index("unbelievably"), TEXT.index(" lovely"))[0]
    assert found.scores[0] == pytest.approx(logits[first].max())
    assert found.target == [[first, int(logits[first].argmax())]]
    assert reading.target == f"unbelievably: {reading.prediction}"
    assert (reading.label, reading.probability) == ("NAME", pytest.approx(float(logits[first].softmax(0).max())))
    other = tags(TEXT, word=(0, 6), target="PLACE")
    assert other.scores[0] == pytest.approx(logits[1, 2])
    assert other.readings[0].target == "nobody: PLACE"
    assert abs(float(other.delta[0])) < 0.05 * float((other.scores - other.baseline_scores).abs()[0])


def test_words_of_several_texts(tags: TokenClassifierExplainer) -> None:
    found = tags(["lovely film", TEXT], word=["film", "lovely"], target=1, steps=5)
    for row, (text, word) in enumerate((("lovely film", "film"), (TEXT, "lovely"))):
        alone = tags(text, word=word, target=1, steps=5)
        torch.testing.assert_close(found.tensor[row, : alone.tensor.shape[1]], alone.tensor[0])
        assert found.readings[row].target == f"{word}: NAME"


def test_every_word_is_tagged_by_its_first_token(tags: TokenClassifierExplainer) -> None:
    logits = tags.model(**tags.tokenizer(TEXT, return_tensors="pt")).logits[0].detach()
    found = tags.tags(TEXT)
    assert [tag.text for tag in found] == TEXT.split()
    assert [TEXT[tag.start : tag.end] for tag in found] == TEXT.split()
    for part, tag in zip(tags(TEXT, word="film", steps=2).words(), found, strict=True):
        assert tag.label == tags.classes[logits[part.tokens[0]].argmax()]


def test_the_answer_to_a_question(answers: QuestionAnswerExplainer) -> None:
    batch = answers.tokenizer("why lovely?", CONTEXT, return_tensors="pt")
    output = answers.model(**batch)
    found = answers("why lovely?", CONTEXT)
    reading = found.readings[0]
    assert reading.prediction == reading.target
    assert reading.prediction in CONTEXT
    inside = [i for i, s in enumerate(reading.spans) if s and s[0] == 1]
    begin, end = output.start_logits[0].detach(), output.end_logits[0].detach()
    best = max(begin[i] + end[j] for i in inside for j in inside if i <= j)
    assert found.scores[0] == pytest.approx(best)
    given = answers("why lovely?", CONTEXT, answer="films and cake")
    first, last = (reading.inside(1, at, at + 1)[0] for at in (CONTEXT.index("films"), CONTEXT.index("cake") + 3))
    assert given.scores[0] == pytest.approx(begin[first] + end[last])
    assert given.readings[0].target == "films and cake"
    assert given.readings[0].prediction == reading.prediction
    assert {w.segment for w in given.words()} == {0, 1}
    placed = answers("why lovely?", CONTEXT, answer=(21, 35), method="deeplift")
    assert placed.scores[0] == pytest.approx(given.scores[0])
    assert placed.delta.abs().max() < 1e-9


def test_answers_to_several_questions(answers: QuestionAnswerExplainer) -> None:
    found = answers(["why?", "what view"], [CONTEXT, "a view"], answer=[None, "view"], steps=3)
    for row, args in enumerate((("why?", CONTEXT, None), ("what view", "a view", "view"))):
        alone = answers(*args[:2], answer=args[2], steps=3)
        torch.testing.assert_close(found.tensor[row, : alone.tensor.shape[1]], alone.tensor[0])
        assert found.readings[row] == alone.readings[0]


def test_what_is_not_in_the_text_is_refused(tags: TokenClassifierExplainer, answers: QuestionAnswerExplainer) -> None:
    for word in ("Paris", "", 3, (5, 2)):
        with pytest.raises(BadArgument, match="word"):
            tags(TEXT, word=word)
    with pytest.raises(BadArgument, match="beyond the last token"):
        tags("film " * 60 + "end", word="end")
    with pytest.raises(BadArgument, match="answer"):
        answers("why?", CONTEXT, answer="why?")
    with pytest.raises(BadArgument, match="context"):
        answers("why?", "")
    with pytest.raises(BadArgument, match="starts and ends"):
        QuestionAnswerExplainer(tags.model, tags.tokenizer)("why?", CONTEXT)
