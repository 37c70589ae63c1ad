"""What a metric of a data set owes to its features: closed forms, and methods other than ablation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import enodo
from enodo import Absence, BadArgument, Features
from enodo.testing.models import normal

W = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
rows, labels = normal(13, 4), normal(13, seed=1)


def linear(t: Tensor) -> Tensor:
    return t @ W


@pytest.mark.parametrize("method", ["feature_ablation", "k_out", "exact_shapley"])
@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_the_mean_of_a_linear_model_owes_each_feature_its_mean_term(method: str, at_once: int) -> None:
    loader = DataLoader(TensorDataset(rows), 5)
    base = normal(4, seed=2)
    ask = {"metric": lambda out: out.mean(), "baseline": (base,), "at_once": at_once}
    found = enodo.explain_dataset(linear, loader, method, **ask)
    torch.testing.assert_close(found[0], W * (rows.mean(0) - base))
    torch.testing.assert_close(found.scores.squeeze(), linear(rows).mean())
    grouped = enodo.explain_dataset(linear, loader, method, features=(torch.tensor([2, 0, 2, 7]),), **ask)
    terms = W * (rows.mean(0) - base)
    both = terms[0] + terms[2]
    torch.testing.assert_close(grouped[0], torch.stack([both, terms[1], both, terms[3]]))


def test_labels_stay_out_of_the_model_and_the_metric_may_have_parts() -> None:
    def squares(state: Any, output: Tensor, batch: Any) -> Tensor:
        error = ((output - batch[1]) ** 2).sum()
        found = torch.stack([error, torch.tensor(float(len(output)), dtype=torch.float64)])
        return found if state is None else state + found

    loader = DataLoader(TensorDataset(rows, labels), 4)
    ask = {"roles": (0, 2), "reduce": squares, "metric": lambda s: torch.stack([s[0], s[0] / s[1]])}
    found = enodo.explain_dataset(linear, loader, features=Features.of(2), **ask)[0]

    def error(keep: Tensor) -> Tensor:
        return ((linear(rows * keep) - labels) ** 2).sum()

    first, second = torch.tensor([0.0, 0, 1, 1]), torch.tensor([1.0, 1, 0, 0])
    lost = torch.stack([error(torch.ones(4)) - error(first), error(torch.ones(4)) - error(second)])
    expected = lost.repeat_interleave(2)
    torch.testing.assert_close(found, torch.stack([expected, expected / 13]))


def test_the_data_is_gone_through_once_for_many_coalitions() -> None:
    passes = []

    class Counted(DataLoader[Any]):
        def __iter__(self) -> Any:
            passes.append(1)
            return super().__iter__()

    enodo.explain_dataset(linear, Counted(TensorDataset(rows), 5), metric=lambda out: out.mean())
    assert len(passes) == 2  # for the shapes, and for all five coalitions


def test_a_model_in_train_mode_is_left_as_it_was_found_and_meets_one_coalition_a_pass() -> None:
    norm = nn.BatchNorm1d(4).double()
    before = {name: t.clone() for name, t in norm.state_dict().items()}

    def spread(t: Tensor) -> Tensor:
        return (((t - t.mean(0)) / (t.var(0, correction=0) + norm.eps).sqrt()) ** 3).mean(0).sum()

    with pytest.warns(enodo.TrainModeWarning):
        found = enodo.explain_dataset(norm, [rows], metric=lambda out: (out**3).mean(0).sum()).tensor
    without = [spread(rows) - spread(rows * (torch.arange(4) != i)) for i in range(4)]
    torch.testing.assert_close(found, torch.stack(without))
    assert all(torch.equal(t, before[name]) for name, t in norm.state_dict().items())


def test_a_number_of_python_keeps_its_precision() -> None:
    found = enodo.explain_dataset(linear, [rows], metric=lambda out: float(out.mean()))
    torch.testing.assert_close(found.tensor, W * rows.mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("loader", {"loader": iter([rows])}),
        ("loader", {"loader": None}),
        ("method", {"method": "eigen_cam"}),
        ("method", {"method": "integrated_gradients"}),
        ("metric", {"metric": lambda out: "high"}),
        ("roles", {"loader": [(rows, rows[:, 0])]}),
        ("at_once", {"at_once": 0}),
        ("roles", {"roles": (0, 2)}),
        ("roles", {"roles": (2,)}),
        ("baseline", {"baseline": Absence.painted(lambda v, a: v)}),
        ("features", {"features": torch.arange(5)}),
    ],
)
def test_what_cannot_be_asked_of_a_data_set(argument: str, given: dict[str, Any]) -> None:
    asked = {"loader": DataLoader(TensorDataset(rows), 5), "metric": lambda out: out.mean(), **given}
    with pytest.raises(BadArgument) as raised:
        enodo.explain_dataset(linear, **asked)
    assert str(raised.value).startswith(argument)


def test_a_loader_may_draw_and_a_model_that_does_is_explained_for_one_draw() -> None:
    class Dropping(nn.Module):
        def forward(self, t: Tensor) -> Tensor:
            return nn.functional.dropout(t, 0.5, training=True).sum(1)

    shuffled = DataLoader[Any](TensorDataset(rows), 5, shuffle=True)
    assert not enodo.explain_dataset(linear, shuffled, metric=lambda out: out.mean()).notes
    model, asked = Dropping().eval(), {"metric": lambda out: out.sum()}
    found = [enodo.explain_dataset(model, [rows], **asked, at_once=n) for n in (16, 2)]
    assert torch.equal(found[0].tensor, found[1].tensor)
    assert "random numbers" in found[0].notes[0]
    other = enodo.explain_dataset(model, [rows], **asked, seed=3)
    assert not torch.allclose(other.tensor, found[0].tensor)
    assert "seed=3" in other.notes[0]
