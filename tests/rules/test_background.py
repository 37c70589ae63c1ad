"""DeepLIFT SHAP: B + R rows forward give what B x R pairs give one by one, and what cannot be crossed is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.budget import Budget
from enodo.testing.models import normal
from tests.rules.nets import ACTIVATIONS, FUNCTIONS, SEQUENCES, Residual, settled

MODELS: dict[str, Any] = {name: fn for name, fn in FUNCTIONS.items() if name != "extremes"} | {
    name: settled(make()) for name, make in SEQUENCES.items()
}


def need_pairs(model: Any, x: Tensor, background: Tensor, **question: Any) -> enodo.Attribution:
    found = enodo.explain(model, x, "deeplift_shap", baseline=background, **question)
    every = [enodo.explain(model, x, "deeplift", baseline=row, **question) for row in background]
    torch.testing.assert_close(found.tensor, torch.stack([one.tensor for one in every]).mean(0))
    torch.testing.assert_close(found.baseline_scores, torch.stack([one.baseline_scores for one in every]).mean(0))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_crossed_or_one_by_one_the_answer_is_the_same(name: str) -> None:
    found = need_pairs(MODELS[name], normal(3, 4, 6), normal(4, 4, 6, seed=1))
    if "packed" in name:  # its steps have other numbers of rows than the batch, and no dimension tells which
        assert found.rows >= 2 * 3 * 4
    elif name == "MultiheadAttention":  # its heads share a dimension with the rows: one pair is tried
        assert found.rows == 3 + 4 + 2
    else:
        assert found.rows == 3 + 4


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, "auto"])
def test_passes_of_any_size(size: Any) -> None:
    model, x, background = settled(Residual(True)), normal(4, 2, 8, 8), normal(5, 2, 8, 8, seed=1)
    found = need_pairs(model, x, background, target="predicted", batch_size=size)
    assert found.rows <= 4 + 5 if size == "auto" else found.rows <= 4 + 5 * -(-4 // size) + 2


@pytest.mark.parametrize(
    ("kept", "largest", "few", "pairs"),
    [(6 << 20, 1 << 20, 4, 32), (40 << 20, 4 << 20, 4, 8), (40 << 20, 16 << 20, 4, 4), (1 << 18, 1 << 16, 42, 64)],
)
def test_passes_for_the_sake_of_pairs_may_have_more_rows(kept: int, largest: int, few: int, pairs: int) -> None:
    """Of 4 rows, that keep and have at most so many bytes each, while no tensor outgrows what the allocator keeps."""
    budget = Budget("auto", 0, 1 << 12)
    budget.measured(4 * kept, 4 * largest, 4, torch.device("cpu"))
    assert (budget.limit, budget.pairs(1, budget.crossed)) == (few, pairs)
    assert budget.pairs(4, 1000) == pairs // 4
    budget.halve(8)
    assert budget.limit == budget.crossed == 4
    assert Budget(4, 0, 1 << 20).pairs(1, 1000) == 4


@pytest.mark.parametrize("question", [{"target": "all"}, {"wrt": "deep", "target": 1}, {"target": [0, 2, 1]}])
def test_targets_and_layers(question: dict[str, Any]) -> None:
    need_pairs(settled(Residual(False)), normal(3, 2, 8, 8), normal(4, 2, 8, 8, seed=1), **question)


def test_one_row_or_one_baseline() -> None:
    layers = nn.Linear(5, 6), ACTIVATIONS["GELU"](), nn.Linear(6, 3)
    model = settled(nn.Sequential(*layers))
    for rows, size in ((1, 4), (4, 1), (1, 1), (2, 2)):
        found = need_pairs(model, normal(rows, 5), normal(size, 5, seed=1), target=1)
        assert found.rows == rows + size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_within_their_background(dtype: torch.dtype) -> None:
    """The slope of a ReLU is 0 or 1 between equal numbers, and between those that rounding tells apart just so."""
    x = torch.cat([normal(6), torch.tensor([0.0, 1e-30, -1e-30, 1e30, 1.0, -1.0])])[None].to(dtype)
    near = x * (1 + torch.finfo(dtype).eps * torch.arange(-5, 6, dtype=dtype)[:, None])
    assert len(near.unique(dim=0)) == 11
    found = enodo.explain(
        lambda t: t.relu().sum(1), x, "deeplift_shap", baseline=torch.cat([near, -x]), multiply=False
    ).tensor
    torch.testing.assert_close(found, (11.0 * (x > 0) + 0.5 * (x != 0)).to(dtype) / 12)  # from -x to x it is a half


def test_the_delta_of_each_baseline() -> None:
    """Options that name the samples keep their order; a function may combine the parts."""
    model, x, background = settled(nn.Sequential(nn.Linear(5, 6), nn.Tanh())), normal(3, 5), normal(4, 5, seed=1)
    question: dict[str, Any] = {"baseline": background, "target": 1}
    halved = enodo.explain(
        model, x, "deeplift_shap", sample_deltas=True, **question,
        combine=lambda m, x, x0: tuple(a * (b - c) / 2 for a, b, c in zip(m, x, x0, strict=True)),
    )  # fmt: skip
    change = model(x)[:, 1] - model(background)[:, 1, None]
    torch.testing.assert_close(halved.delta, -change.detach() / 2)


def test_arguments_that_differ_by_row_go_with_their_row() -> None:
    """f = tanh(x) y, with y of the row: against each b, (tanh(x) - tanh(b)) y."""
    x, y, background = normal(3, 5), normal(3, 5, seed=1), normal(4, 5, seed=2)
    model = lambda x, y: (x.tanh() * y).sum(1)  # noqa: E731
    found = enodo.explain(model, x, "deeplift_shap", baseline=background, args=y)
    torch.testing.assert_close(found.tensor, (x.tanh() - background.tanh().mean(0)) * y)
    assert found.rows == 2 * 3 * 4


def test_rows_that_are_not_the_outer_ones_are_found_out() -> None:
    """Rows and places share a dimension, the places first: f = sum_t (t + 1) tanh(x_t), t from 0."""

    def model(x: Tensor) -> Tensor:
        flat = x.transpose(0, 1).reshape(-1, 1).tanh()
        return (flat.reshape(5, -1) * torch.arange(1.0, 6.0)[:, None]).sum(0)

    x, background = normal(3, 5), normal(4, 5, seed=1)
    found = need_pairs(model, x, background)
    torch.testing.assert_close(found.tensor, (x.tanh() - background.tanh().mean(0)) * torch.arange(1.0, 6.0))
    assert found.rows > 2 * 3 * 4


def test_a_rule_of_ones_own_that_branches() -> None:
    """Data may be asked about in a rule, which torch.vmap does not allow."""

    def straight(op: Any) -> Any:
        whole = bool((op.y - op.at.y).abs().max() > 1e9)
        return lambda gy: [gy * (0.0 if whole else 1.0)]

    found = need_pairs(lambda x: F.relu(x).sum(1), normal(3, 5), normal(4, 5, seed=1), rules={F.relu: straight})
    torch.testing.assert_close(found.tensor, normal(3, 5) - normal(4, 5, seed=1).mean(0))
