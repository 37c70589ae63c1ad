"""Real models: segments of a photo, words and sentences, columns of tables with categories."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import enodo
from enodo import Absence, Features
from enodo.io import load_subject

pytestmark = pytest.mark.filterwarnings("ignore::enodo.SamplingWarning")


def accounts(found: enodo.Attribution, tolerance: float = 1e-5) -> None:
    """The values of the features add up to the change of the score."""
    assert found.delta is not None
    assert found.delta.abs().max() < tolerance


def test_segments_of_a_photo() -> None:
    """Nine segments that speak most for the cat keep its class above what the nine others do."""
    subject = load_subject("efficientnet-lite0")
    x = subject.read("chelsea", None).inputs
    cat = int(subject.model(x).argmax())
    given: dict[str, Any] = {"target": cat, "baseline": Absence.blurred(12.0)}
    segments = Features.superpixels("slic", n_segments=16, compactness=20)
    found = enodo.explain(subject.model, x, "kernel_shap", features=segments, max_evaluations=120, **given)
    accounts(found, 1e-3)
    values = found.details["features"][0]
    assert found.tensor.shape == x.shape
    assert 8 <= len(values) <= 30
    assert (found.stderr > 0).any()
    assert (found.tensor[0, 0] == found.tensor[0, 2]).all()  # a segment has all channels
    half = found.tensor > values.median()
    blurred = enodo.explain(subject.model, x, "exact_shapley", features=half.long(), **given)  # the two halves alone
    low, high = blurred.details["features"][0]
    assert high > 2 * low


def test_words_and_sentences() -> None:
    subject = load_subject("minilm-sentiment")
    example = subject.read("A wonderful film. The ending was dull.", None)
    ids, mask = example.inputs, example.kwargs["attention_mask"]
    tokens = example.sample.tokens
    assert tokens is not None
    given: dict[str, Any] = {"target": 1, "kwargs": {"attention_mask": mask}, "baseline": Absence.masked()}
    words = [None if t in ("[CLS]", "[SEP]") or not t.isalpha() else t for t in tokens]
    found = enodo.explain(subject.model, ids, "kernel_shap", features=Features.tokens(words), **given)
    accounts(found)
    by_word = dict(zip(tokens, found.tensor[0].tolist(), strict=True))
    assert max(by_word, key=by_word.__getitem__) == "wonderful"
    assert min(by_word, key=by_word.__getitem__) == "dull"
    assert by_word["[CLS]"] == 0
    end = tokens.index(".")
    sentences = [None if t in ("[CLS]", "[SEP]") else "first" if i <= end else "second" for i, t in enumerate(tokens)]
    found = enodo.explain(subject.model, ids, "exact_shapley", features=Features.tokens(sentences), **given)
    accounts(found)
    first, second = found.details["features"][0].tolist()
    assert first > 0 > second
    order = sorted({w for w in words if w})
    groups = [int(words.index(w) > end) for w in order]
    nested = enodo.explain(subject.model, ids, "owen", features=Features.tokens(words), groups=groups, **given)
    accounts(nested)


def test_columns_of_breast_cancer_against_a_background() -> None:
    subject = load_subject("breast-cancer")
    x = subject.read(None, 3).inputs
    background = torch.cat([subject.read(None, i).inputs for i in range(20, 50)])
    found = enodo.explain(
        subject.model, x, "kernel_shap", target=0, baseline=Absence.background(background), max_evaluations=400
    )
    accounts(found, 1e-3)
    ablated = enodo.explain(subject.model, x, "feature_ablation", target=0, baseline=background.mean(0))
    strongest = found.tensor[0].abs().topk(8).indices
    assert len(set(strongest.tolist()) & set(ablated.tensor[0].abs().topk(12).indices.tolist())) >= 4


def test_categories_of_wage_stay_whole() -> None:
    """One-hot columns are one player, so that no row has two jobs or none; the values by brute force."""
    subject = load_subject("wage")
    example, other = subject.read(None, 5), subject.read(None, 9)
    owner = torch.tensor(example.sample.groups)
    n = int(owner.max()) + 1
    columns = Features.columns([(owner == g).nonzero().flatten().tolist() for g in range(n)])
    given: dict[str, Any] = {"features": columns, "baseline": other.inputs}
    found = enodo.explain(subject.model, example.inputs, "exact_shapley", **given)
    accounts(found, 1e-3)
    assert found.details["features"].shape == (1, n)
    assert n < len(owner)
    assert all(len(found.tensor[0, owner == g].unique()) == 1 for g in range(n))
    masks = torch.tensor(list(itertools.product([False, True], repeat=n)))
    with torch.no_grad():
        scores = subject.model(torch.where(masks[:, owner], example.inputs, other.inputs)).flatten()
    plain = scores[masks[:, -1]].mean() - scores[~masks[:, -1]].mean()  # the Banzhaf value of the last feature
    banzhaf = enodo.explain(subject.model, example.inputs, "banzhaf", **given)
    torch.testing.assert_close(banzhaf.details["features"][0, -1], plain, rtol=1e-4, atol=1e-4)
