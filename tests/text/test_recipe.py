"""The recipe on the two classifiers that it is for: PhoBERT's architecture in Vietnamese, a real model in English."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from enodo.core.errors import BadArgument
from enodo.text import XAI, TextClassifierExplainer
from tests.text.vietnamese import DENIED, LABELS, STATED, comments

COMMENT = "sản_phẩm này tốt , nhưng giao hàng chậm quá 😀"


@pytest.fixture
def explain(phobert: Any, tokenizers: dict[str, Any]) -> XAI:
    return XAI(COMMENT, 1, tokenizers["PhoBERT"], phobert, "cpu")


def test_the_classifier_knows_its_comments(phobert: Any, tokenizers: dict[str, Any]) -> None:
    lines, labels = zip(*comments(), strict=True)
    batch = tokenizers["PhoBERT"](list(lines), padding=True, return_tensors="pt")
    answer = phobert(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(1)
    assert (answer == torch.tensor(labels)).double().mean() > 0.95


def test_the_pair_is_the_text_and_padding(explain: XAI, tokenizers: dict[str, Any]) -> None:
    ids, reference = explain.construct_input_ref_pair()
    cutter = tokenizers["PhoBERT"]
    assert ids.tolist() == [cutter(COMMENT)["input_ids"]]
    assert reference.tolist() == [
        [cutter.cls_token_id, *[cutter.pad_token_id] * (ids.shape[1] - 2), cutter.sep_token_id]
    ]
    assert explain.construct_input_ref_pair("zero")[1] is None
    _, masks = explain.construct_input_ref_pair("mask", "baseline")
    assert set(masks.flatten().tolist()) == {cutter.mask_token_id}


def test_a_comment_is_explained_word_by_word(explain: XAI) -> None:
    explain.construct_input_ref_pair()
    found = explain.process(target="tích_cực")
    words = {w.text: w.value for w in found.words()}
    assert list(words) == COMMENT.split()
    assert words["tốt"] == max(words.values()) > 0
    assert words["chậm"] < 0
    reading = found.readings[0]
    assert reading.label == reading.target == LABELS[1]
    assert reading.prediction in LABELS
    assert abs(float(found.delta[0])) < 0.01
    page = found.to_html()
    for told in ("Prediction: ", "Recorded: ", "Explained: ", "Score: ", "Gap: ", "sản_phẩm", LABELS[1]):
        assert told in page
    assert "iframe" in found._repr_html_()


def test_without_the_first_call_the_reference_is_made_anyway(explain: XAI) -> None:
    first = explain.process()
    explain.construct_input_ref_pair()
    torch.testing.assert_close(first.tensor, explain.process().tensor)
    masked = XAI(COMMENT, None, explain.explainer.tokenizer, explain.explainer.model)
    masked.construct_input_ref_pair("mask")
    assert not torch.equal(masked.process().tensor, first.tensor)
    with pytest.raises(BadArgument, match="an nn"):
        XAI(COMMENT, 1, explain.explainer.tokenizer, lambda ids: ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "feature_ablation", "exact_shapley"])
def test_words_that_say_it_are_found(phobert: Any, tokenizers: dict[str, Any], method: str) -> None:
    """In "this dish ... too", the word that states the opinion has the most, with its own sign."""
    said = sorted(STATED | DENIED)
    found = TextClassifierExplainer(phobert, tokenizers["PhoBERT"])(
        [f"món này {word} quá" for word in said], target=LABELS[1], method=method
    )
    for row, word in enumerate(said):
        words = {w.text: w.value for w in found.words(row)}
        assert max(words, key=lambda w: abs(words[w])) == word
        assert (words[word] > 0) is (word in STATED)


def test_as_captum_explains_the_same_pair(explain: XAI, phobert: Any) -> None:
    """The usual code for such a model: layer integrated gradients at the word embeddings, summed over the vector."""
    import captum.attr

    ids, reference = explain.construct_input_ref_pair()
    mask = torch.ones_like(ids)
    path = captum.attr.LayerIntegratedGradients(
        lambda i, m: phobert(i, attention_mask=m).logits, phobert.roberta.embeddings.word_embeddings
    )
    theirs = path.attribute(ids, reference, additional_forward_args=mask, target=1, n_steps=200).sum(-1)
    found = explain.process(target=1, steps=200)
    torch.testing.assert_close(found.tensor, theirs.to(found.tensor), rtol=2e-3, atol=2e-4)


def test_a_real_sentence_in_english(english: TextClassifierExplainer) -> None:
    text = "A slow start, but what an UNBELIEVABLY lovely ending! 😀 Café scenes aside, I loved it."
    explain = XAI(text, "positive", english.tokenizer, english.model, classes=english.classes)
    explain.construct_input_ref_pair()
    found = explain.process(steps=30)
    words = {w.text: w.value for w in found.words()}
    assert found.readings[0].prediction == "positive"
    assert max(words, key=lambda w: words[w]) in ("lovely", "loved")
    assert min(words, key=lambda w: words[w]) in ("slow", "ending", "start")
    assert "UNBELIEVABLY" in words
    assert found.total(text.index("lovely"), text.index("lovely") + 6) == pytest.approx(words["lovely"])
    assert [s.text for s in found.sentences()][-1] == "😀 Café scenes aside, I loved it."
    gap = float(found.delta[0] / (found.scores - found.baseline_scores)[0])
    assert abs(gap) < 0.05
