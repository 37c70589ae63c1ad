"""DeepLIFT against what was worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal, seeded


def deeplift(model: object, x: Tensor, x0: Tensor | float = 0.0, **options: object) -> Tensor:
    return enodo.explain(model, x, "deeplift", baseline=x0, **options).tensor


def test_rescale_rule_eq_10() -> None:
    """m = (y - y0) / (x - x0): relu(2 + 1) = 3 against relu(-1 - 2) = 0 over a change of 6."""
    found = deeplift(lambda x: torch.relu(x.sum(1)), torch.tensor([[2.0, 1.0]]), torch.tensor([[-1.0, -2.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.5, 1.5]]))


def test_chain_rule_for_multipliers_eq_3() -> None:
    """Through two ReLUs: 3 relu(2x - 1) - 1 from x = 0 to 2 has slopes (3 - 0)/4 inside and (8 - 0)/9 outside."""
    found = deeplift(lambda x: torch.relu(3 * torch.relu(2 * x[:, 0] - 1) - 1), torch.tensor([[2.0]]))
    torch.testing.assert_close(found, torch.tensor([[2 * 2 * (3 / 4) * 3 * (8 / 9)]]))


def test_saturation_section_1() -> None:
    """1 - relu(1 - a - b) at a = b = 1 has no gradient; both inputs get their half of the difference."""
    x = torch.tensor([[1.0, 1.0]])
    model = lambda x: 1 - torch.relu(1 - x.sum(1))  # noqa: E731
    assert enodo.explain(model, x, "gradient").tensor.abs().max() == 0
    torch.testing.assert_close(deeplift(model, x), torch.tensor([[0.5, 0.5]]))


def test_factors_share_alike() -> None:
    """xy - x0 y0 = 12 - 2 = 2 (y + y0)/2 + 3 (x + x0)/2 for x from 2 to 4 and y from 1 to 3."""
    found = deeplift(lambda x: x[:, 0] * x[:, 1], torch.tensor([[4.0, 3.0]]), torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([[2 * (3 + 1) / 2, 2 * (4 + 2) / 2]]))


def test_the_larger_of_two_maxima_names_the_place() -> None:
    """max goes from 5 (second) to 3 (first): the fall of 2 belongs to what fell from 5."""
    x, x0 = torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, 5.0]])
    torch.testing.assert_close(deeplift(lambda x: x.max(1)[0], x, x0), torch.tensor([[0.0, -2.0]]))
    torch.testing.assert_close(deeplift(lambda x: x.max(1)[0], x0, x), torch.tensor([[0.0, 2.0]]))


def test_softmax_sees_differences_only() -> None:
    """A constant added to all of the inputs changes nothing, nor do its multipliers sum to anything."""
    x, x0 = normal(3, 5), normal(3, 5, seed=1)
    score = lambda x: torch.softmax(x, 1)[:, 2]  # noqa: E731
    m = deeplift(score, x, x0, multiply=False)
    torch.testing.assert_close(m, deeplift(score, x + 100, x0 - 3, multiply=False))
    torch.testing.assert_close(m.sum(1), torch.zeros(3, dtype=torch.float64))


def test_linear_models_have_their_weights() -> None:
    model = seeded(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)))
    x, x0 = normal(3, 4), normal(3, 4, seed=1)
    weights = model[1].weight[1] @ model[0].weight
    torch.testing.assert_close(deeplift(model, x, x0, target=1), (x - x0) * weights)


@pytest.mark.parametrize("wrt", ["INPUT", "0"])
def test_a_function_may_combine_the_parts(wrt: str) -> None:
    model, x, x0 = (
        seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))),
        normal(3, 4),
        normal(3, 4, seed=1),
    )
    squared = deeplift(model, x, x0, target=1, wrt=wrt, combine=lambda m, x, x0: tuple(
        a * (b - c).square() for a, b, c in zip(m, x, x0, strict=True)))  # fmt: skip
    at, at0 = (enodo.explain(model, v, "activation", wrt=wrt).tensor for v in (x, x0))
    torch.testing.assert_close(squared, deeplift(model, x, x0, target=1, wrt=wrt) * (at - at0))


def test_two_forward_passes_are_made() -> None:
    found = enodo.explain(
        seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))), normal(3, 4), "deeplift", target=0
    )
    assert found.rows == 3 + 1  # the baseline is the same for all rows


def test_over_a_background_it_is_the_mean_of_the_single_ones() -> None:
    model, x, background = (
        seeded(nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2))),
        normal(3, 4),
        normal(6, 4, seed=1),
    )
    whole = enodo.explain(model, x, "deeplift_shap", baseline=background, target=1)
    single = [deeplift(model, x, row, target=1) for row in background]
    torch.testing.assert_close(whole.tensor, torch.stack(single).mean(0))
    assert whole.delta.abs().max() < 1e-12
    assert whole.rows == 3 + 6
    torch.testing.assert_close(whole.baseline_scores, model(background)[:, 1].mean().expand(3))
