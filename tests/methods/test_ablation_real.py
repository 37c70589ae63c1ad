"""Real models and data: windows of a photo, words of a sentence, columns of tables, permutation importance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import enodo
from enodo import Absence, Features
from enodo.io import load_subject


def test_windows_of_a_photo() -> None:
    """The loss under each of 16 squares is what covering it by hand does, and the largest is on the cat's face."""
    subject = load_subject("efficientnet-lite0")
    x = subject.read("chelsea", None).inputs
    found = enodo.explain(subject.model, x, "occlusion", target="predicted", window=(56, 56), strides=56)
    with torch.no_grad():
        full = subject.model(x)
        cat = int(full.argmax())
        lost = torch.empty(4, 4)
        for i in range(4):
            covered = x.repeat(4, 1, 1, 1)
            for j in range(4):
                covered[j, :, 56 * i : 56 * i + 56, 56 * j : 56 * j + 56] = 0
            lost[i] = full[0, cat] - subject.model(covered)[:, cat]
    torch.testing.assert_close(found.tensor[0, 2, ::56, ::56], lost, rtol=1e-3, atol=1e-3)
    assert found.tensor.shape == x.shape
    assert int(lost.argmax()) // 4 in (0, 1, 2)


def test_words_taken_out_of_a_sentence() -> None:
    subject = load_subject("minilm-sentiment")
    example = subject.read("A wonderful film with a dull ending.", None)
    ids, mask = example.inputs, example.kwargs["attention_mask"]
    reading = example.sample.reading
    assert reading is not None
    words = reading.owners("word")
    ask = {"target": 1, "kwargs": {"attention_mask": mask}, "features": Features.tokens(words)}
    found = enodo.explain(subject.model, ids, "feature_ablation", baseline=Absence.dropped(), **ask).tensor[0]
    with torch.no_grad():
        full = subject.model(ids, attention_mask=mask)[0, 1]
        for i, word in enumerate(words):
            if word is None:
                assert found[i] == 0
                continue
            keep = [k for k, other in enumerate(words) if other != word]
            without = subject.model(ids[:, keep], attention_mask=mask[:, keep])[0, 1]
            torch.testing.assert_close(found[i], full - without, rtol=1e-4, atol=1e-4)
    by_token = dict(zip(reading.tokens, found.tolist(), strict=True))
    assert max(by_token, key=by_token.__getitem__) == "wonderful"
    assert min(by_token, key=by_token.__getitem__) == "dull"


def test_the_columns_of_a_category_go_together() -> None:
    """Each feature of a row of Wage exchanged for another row's, by hand."""
    subject = load_subject("wage")
    example, other = subject.read(None, 5), subject.read(None, 9)
    groups = torch.tensor(example.sample.groups)
    found = enodo.explain(subject.model, example.inputs, "feature_ablation", features=groups, baseline=other.inputs)
    with torch.no_grad():
        for group in groups.unique():
            changed = torch.where(groups == group, other.inputs, example.inputs)
            loss = (subject.model(example.inputs) - subject.model(changed)).flatten()
            torch.testing.assert_close(found.tensor[0, groups == group], loss.expand(int((groups == group).sum())))


def test_permutation_importance_is_scikit_learns() -> None:
    """Of the error of the breast cancer model on 60 rows, each within the standard errors of 60 permutations."""
    inspection = pytest.importorskip("sklearn.inspection")
    subject = load_subject("breast-cancer")
    examples = [subject.read(None, i) for i in range(60)]
    x = torch.cat([e.inputs for e in examples])
    y = torch.tensor([[str(e.sample.truth) == "malignant"] for e in examples]).double().flatten()

    def minus_error(t: Tensor, truth: Tensor) -> Tensor:
        return -((subject.model(t).softmax(1)[:, 0] - truth) ** 2)

    class Model:
        """What scikit-learn asks for."""

        def fit(self, *data: object) -> Model:
            return self

        def score(self, rows: np.ndarray, truth: np.ndarray) -> float:
            with torch.no_grad():
                return float(minus_error(torch.from_numpy(rows), torch.from_numpy(truth)).mean())

    theirs = inspection.permutation_importance(Model(), x.numpy(), y.numpy(), n_repeats=60, random_state=0)
    found = enodo.explain(minus_error, x, "feature_permutation", args=y, samples=60)
    mine = found.tensor.mean(0).double().numpy()
    spread = theirs.importances_std / np.sqrt(60) * np.sqrt(2)
    assert np.abs(mine).max() > 1e-4
    assert (np.abs(mine - theirs.importances_mean) < 5 * spread + 2e-2 * np.abs(mine) + 1e-7).all()


@pytest.mark.parametrize("method", ["feature_ablation", "occlusion"])
def test_backgrounds_of_breast_cancer(method: str) -> None:
    subject = load_subject("breast-cancer")
    x = subject.read(None, 3).inputs
    rows = torch.cat([subject.read(None, i).inputs for i in range(20, 30)])
    one = {"feature_ablation": {}, "occlusion": {"window": (1,)}}[method]
    found = enodo.explain(subject.model, x, method, target=0, baseline=Absence.background(rows), **one)
    each = [enodo.explain(subject.model, x, method, target=0, baseline=row[None], **one).tensor for row in rows]
    torch.testing.assert_close(found.tensor, torch.stack(each).mean(0), rtol=1e-4, atol=1e-5)
