"""Classifiers of texts: closed forms, filling that changes nothing, pairs, targets, and what stands in for words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from enodo.core.errors import BadArgument
from enodo.core.result import Attribution
from enodo.core.targets import Each
from enodo.text import TextAttribution, TextClassifierExplainer

SHORT, LONG = "lovely film!", "nobody could say why the film was unbelievably lovely"
METHODS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 7}, "gradient": {}, "input_x_gradient": {}, "deeplift": {}, "lrp": {},
    "feature_ablation": {}, "kernel_shap": {}, "shapley_sampling": {"permutations": 4},
}  # fmt: skip
COMPARING = ("integrated_gradients", "deeplift", "feature_ablation", "exact_shapley", "kernel_shap")


class Bag(nn.Module):
    """The score of a text is the sum of those of its tokens: every method that compares gives w . (e - e0)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Embedding(size, 3, dtype=torch.float64)
            self.head = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head((self.embed(tokens) * mask[..., None]).sum(1))

    def share(self, ids: Tensor, target: int) -> Tensor:
        return (self.embed(ids) @ self.head.weight[target]).detach()


@pytest.fixture(scope="module")
def bag(tokenizers: dict[str, Any]) -> TextClassifierExplainer:
    cutter = tokenizers["WordPiece"]
    return TextClassifierExplainer(Bag(len(cutter)).eval(), cutter, classes=["no", "yes"])


@pytest.mark.parametrize("method", COMPARING)
@pytest.mark.parametrize("baseline", ["pad", "mask", 7])
def test_a_bag_of_words_by_hand(bag: TextClassifierExplainer, method: str, baseline: Any) -> None:
    found = bag([SHORT, "films"], target=["yes", "no"], method=method, baseline=baseline)
    token = baseline if isinstance(baseline, int) else getattr(bag.tokenizer, f"{baseline}_token_id")
    for row, (text, target) in enumerate(((SHORT, 1), ("films", 0))):
        ids = torch.tensor(bag.tokenizer(text)["input_ids"])
        wanted = bag.model.share(ids, target) - bag.model.share(torch.tensor(token), target)
        wanted[0] = wanted[-1] = 0  # [CLS] and [SEP] are in the baseline too
        for part in found.words(row):
            assert part.value == pytest.approx(float(wanted[list(part.tokens)].sum()), abs=1e-9)
        assert found.words(row)[0].text == text.split()[0]
        assert found.total(0, len(text), row) == pytest.approx(float(wanted.sum()), abs=1e-9)
    assert found.target == [1, 0]


def test_zero_vectors_and_added_tokens(bag: TextClassifierExplainer) -> None:
    ids = torch.tensor(bag.tokenizer(SHORT)["input_ids"])
    zero = bag(SHORT, target=1, baseline="zero")
    torch.testing.assert_close(zero.tensor[0], bag.model.share(ids, 1))
    every = bag(SHORT, target=1, baseline="mask", special="baseline")
    mask = bag.model.share(torch.tensor(bag.tokenizer.mask_token_id), 1)
    torch.testing.assert_close(every.tensor[0], bag.model.share(ids, 1) - mask)
    assert len(every.parts("word", added=True)) == len(every.words()) + 2
    ablated = bag(SHORT, target=1, baseline="mask", special="baseline", method="feature_ablation")
    torch.testing.assert_close(ablated.row_values(), every.row_values())
    given = bag(SHORT, target=1, baseline=torch.full((1, len(ids)), bag.tokenizer.mask_token_id))
    torch.testing.assert_close(given.tensor, every.tensor)


@pytest.mark.parametrize("baseline", ["masked", "dropped"])
@pytest.mark.parametrize("level", ["token", "word", "sentence"])
def test_parts_are_taken_away_together(small: SimpleNamespace, baseline: str, level: str) -> None:
    """What the score loses without the part, by the model itself with a mask or without the tokens."""
    text = "nobody could say. why, unbelievably?"
    found = small.explain(text, target=2, method="feature_ablation", baseline=baseline, level=level)
    batch = small.tokenizer(text, return_tensors="pt")
    whole = float(small.model(**batch).logits[0, 2].detach())
    parts = found.parts(level)
    assert len(parts) == {"token": len(found.readings[0].tokens) - 2, "word": 8, "sentence": 2}[level]
    for part in parts:
        less = {k: v.clone() for k, v in batch.items()}
        less["attention_mask"][0, list(part.tokens)] = 0
        if baseline == "dropped":
            kept = less["attention_mask"][0].bool()
            less = {k: v[:, kept] for k, v in less.items()}
        assert part.value == pytest.approx(whole - float(small.model(**less).logits[0, 2].detach()), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_filling_changes_nothing(small: SimpleNamespace, method: str) -> None:
    """A short text beside a long one is explained as it is alone, and its filling gets nothing."""
    how = {"method": method, **METHODS[method], "target": 1}
    alone, beside = small.explain(SHORT, **how), small.explain([LONG, SHORT], **how)
    length = alone.tensor.shape[1]
    assert beside.tensor.shape[1] > length
    assert not beside.tensor[1, length:].any()
    torch.testing.assert_close(beside.tensor[1, :length], alone.tensor[0], rtol=1e-8, atol=1e-9)
    assert beside.words(1) == [w for w in beside.words(1) if w.text in ("lovely", "film", "!")]


class Average(nn.Module):
    """A model that does not look at the mask: its answer depends on how far a text is filled up."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bag = Bag(size)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.bag.head(torch.tanh(self.bag.embed(input_ids)).mean(1))


def test_a_model_that_reads_its_filling_is_given_none(tokenizers: dict[str, Any]) -> None:
    cutter = tokenizers["WordPiece"]
    explain = TextClassifierExplainer(Average(len(cutter)).eval(), cutter)
    texts = [SHORT, LONG, "film film!", "x"]
    found = explain(texts, target=1)
    assert found.delta.abs().max() < 1e-4
    for row, text in enumerate(texts):
        alone = explain(text, target=1)
        torch.testing.assert_close(found.tensor[row, : alone.tensor.shape[1]], alone.tensor[0])
        assert found.readings[row] == alone.readings[0]
        torch.testing.assert_close(found.scores[row], alone.scores[0])
        assert [w.text for w in found.words(row)] == [w.text for w in alone.words()]
    several = explain(texts, target="all")
    assert several.tensor.shape[:2] == (2, 4)
    torch.testing.assert_close(several.tensor[1], found.tensor)


def test_a_model_without_a_filling_token_takes_one_text_at_a_time(tokenizers: dict[str, Any]) -> None:
    """GPT-2 looks for the last token of a text, which it cannot tell from filling unless it knows that."""
    import copy

    import transformers

    cutter = copy.copy(tokenizers["byte-level BPE"])
    cutter.pad_token = None
    config = transformers.GPT2Config(
        vocab_size=len(cutter),
        n_positions=64,
        n_embd=8,
        n_layer=1,
        n_head=2,
        num_labels=2,
        bos_token_id=1,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2ForSequenceClassification(config).double().eval()
    explain = TextClassifierExplainer(model, cutter)
    found, alone = explain(["lovely", "a film"], target=1, steps=4), explain("lovely", target=1, steps=4)
    torch.testing.assert_close(found.tensor[0, : alone.tensor.shape[1]], alone.tensor[0])
    assert found.batch_size == 1


def test_targets_labels_and_what_the_model_says(small: SimpleNamespace) -> None:
    logits = small.model(**small.tokenizer([SHORT, LONG], padding=True, return_tensors="pt")).logits.detach()
    found = small.explain([SHORT, LONG], label=["good", 0], steps=2)
    assert found.target == logits.argmax(1).tolist()
    for row, (reading, recorded) in enumerate(zip(found.readings, ("good", "bad"), strict=True)):
        assert reading.prediction == reading.target == small.explain.classes[logits[row].argmax()]
        assert reading.probability == pytest.approx(float(logits[row].softmax(0).max()))
        assert reading.label == recorded
    torch.testing.assert_close(found.scores, logits.amax(1))
    named = small.explain([SHORT, LONG], target=["GOOD", -2], steps=2)
    assert named.target == [2, 1]
    every = small.explain([SHORT, LONG], target="all", steps=2)
    assert every.tensor.shape[0] == 3
    torch.testing.assert_close(every.tensor[2, 0], named.tensor[0])
    some = small.explain([SHORT, LONG], target=Each(["fair", "predicted"]), steps=2)
    torch.testing.assert_close(some.tensor[0], every.tensor[1])
    torch.testing.assert_close(some.tensor[1], found.tensor)
    of_all, alone = every.words(1, target=2), small.explain([SHORT, LONG], target=2, steps=2).words(1)
    assert [replace(w, value=0.0) for w in of_all] == [replace(w, value=0.0) for w in alone]
    assert [w.value for w in of_all] == pytest.approx([w.value for w in alone])


def test_pairs_of_sentences(small: SimpleNamespace) -> None:
    found = small.explain("is it lovely?", "lovely film", target=1)
    assert [(w.segment, w.text) for w in found.words() if w.text == "lovely"] == [(0, "lovely"), (1, "lovely")]
    assert abs(float(found.delta[0])) < 0.02 * abs(float(found.scores[0] - found.baseline_scores[0]))
    batch = small.tokenizer("is it lovely?", "lovely film", return_tensors="pt")
    torch.testing.assert_close(found.scores, small.model(**batch).logits[:, 1].detach())  # token types were given
    for spelling in ((("is it lovely?", "lovely film"),), ([("is it lovely?", "lovely film")],)):
        torch.testing.assert_close(small.explain(*spelling, target=1).tensor, found.tensor)
    two = small.explain(["is it lovely?", "why"], ["lovely film", "nobody"], target=1)
    torch.testing.assert_close(two.tensor[0, : found.tensor.shape[1]], found.tensor[0])


def test_a_number_and_several_classes_at_once(bert: Any, tokenizers: dict[str, Any]) -> None:
    cutter = tokenizers["WordPiece"]
    number = TextClassifierExplainer(bert(num_labels=1), cutter)([SHORT, LONG], label=[3.5, "unknown"])
    assert [r.label for r in number.readings] == ["3.5", "unknown"]
    assert float(number.readings[0].prediction) == pytest.approx(float(number.scores[0]), rel=1e-3)
    assert number.readings[0].probability is None
    model = bert(num_labels=4, problem_type="multi_label_classification")
    several = TextClassifierExplainer(model, cutter)(LONG, target=1, steps=2)
    chosen = (model(**cutter(LONG, return_tensors="pt")).logits[0] > 0).nonzero().flatten().tolist()
    assert set(several.readings[0].prediction.split(", ")) == {f"LABEL_{i}" for i in chosen}


def test_long_texts_are_cut_at_the_positions_a_model_has(phobert: Any, tokenizers: dict[str, Any]) -> None:
    """A RoBERTa with 42 entries counts from behind its padding index, and has 40 positions."""
    explain = TextClassifierExplainer(phobert, tokenizers["PhoBERT"])
    found = explain("phim hay " * 30, steps=2)
    assert found.tensor.shape[1] == 40
    assert found.notes == ["Only the first 40 of 62 tokens were read."]
    assert TextClassifierExplainer(phobert, tokenizers["PhoBERT"], max_length=9)("phim " * 30).tensor.shape[1] == 9


def test_layers_and_vectors(small: SimpleNamespace) -> None:
    vectors = small.explain([SHORT, LONG], target=1, wrt="bert.embeddings.word_embeddings", steps=5)
    tokens = small.explain([SHORT, LONG], target=1, steps=5)
    assert vectors.tensor.ndim == 3
    assert vectors.row_values(1) == pytest.approx(tokens.row_values(1))


def test_a_saved_answer_knows_its_words(small: SimpleNamespace, tmp_path: Any) -> None:
    found = small.explain([SHORT, LONG], ["café", ""], label="fair", steps=2)
    found.save(tmp_path / "answer.enodo")
    again = TextAttribution.load(tmp_path / "answer.enodo")
    assert again.readings == found.readings
    assert again.words(1) == found.words(1)
    assert again.class_names == found.class_names
    assert found.to_dataframe().query("feature == 'lovely'").shape[0] > 0
    with pytest.raises(BadArgument, match="does not know its texts"):
        TextAttribution.over(Attribution(torch.ones(1, 2)))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no text": ({"text": []}, "a string or a list"),
    "a number": ({"text": 3}, "a string or a list"),
    "numbers": ({"text": [3]}, "a string"),
    "pairs of another number": ({"text": ["a", "b"], "pair": ["c"]}, "each of the 2 texts"),
    "an unknown class": ({"target": "great"}, "bad, fair, good"),
    "a class too far": ({"target": 3}, "from 0 to 2"),
    "targets of another number": ({"target": [1, 2]}, "each of the 1 texts"),
    "an unknown baseline": ({"baseline": "nothing at all"}, "a single token"),
    "an id too far": ({"baseline": 100_000}, "a token id from 0"),
    "a wrong baseline": ({"baseline": ["pad"]}, "baseline"),
    "zero vectors for ids": ({"baseline": "zero", "method": "feature_ablation"}, "'masked' or 'dropped'"),
    "special": ({"special": "none"}, '"keep" or "baseline"'),
    "an unknown level": ({"level": "letter", "method": "feature_ablation"}, '"token", "word" or "sentence"'),
    "a level of gradients": ({"level": "word"}, "with `features`"),
    "an unknown method": ({"method": "integrated"}, "Did you mean"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_words(small: SimpleNamespace, name: str) -> None:
    given, said = BAD[name]
    with pytest.raises(BadArgument, match=said):
        small.explain(**({"text": "film"} | given))


def test_what_is_no_model_or_tokenizer_is_refused(small: SimpleNamespace, tokenizers: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match="model"):
        TextClassifierExplainer("bert", small.tokenizer)
    with pytest.raises(BadArgument, match="AutoTokenizer"):
        TextClassifierExplainer(small.model, str.split)
    with pytest.raises(BadArgument, match="named inputs"):
        TextClassifierExplainer(lambda *ids: ids, small.tokenizer)
    plain = tokenizers["byte-level BPE"]
    with pytest.raises(BadArgument, match="at least one token"):
        TextClassifierExplainer(Bag(len(plain)), _Bare(plain))("")


class _Bare:
    """A tokenizer that adds no tokens."""

    is_fast = False
    pad_token_id, unk_token, model_max_length = 1, "<unk>", 10

    def __init__(self, inner: Any) -> None:
        self.tokenize, self.convert_ids_to_tokens = inner.tokenize, inner.convert_ids_to_tokens

    def __call__(self, *texts: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": [], "attention_mask": [], "special_tokens_mask": []}


def test_a_model_that_answers_for_each_token_is_refused(tokenizers: dict[str, Any]) -> None:
    class Tagger(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return torch.nn.functional.one_hot(input_ids % 3, 3).float()

    with pytest.raises(BadArgument, match="a score for each class of a whole text"):
        TextClassifierExplainer(Tagger(), next(iter(tokenizers.values())))("a film")
