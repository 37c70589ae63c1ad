"""Standard errors of means over samples: none of one, told to be Student's of few, right where tails are heavy."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import enodo

X = torch.linspace(-1, 2, 12).double().view(4, 3)
SAMPLED: dict[str, dict[str, Any]] = {
    "gradient_shap": {"baseline": X},
    "smoothgrad": {},
    "smoothgrad_sq": {},
    "vargrad": {},
    "feature_permutation": {},
}


def cubes(x: torch.Tensor) -> torch.Tensor:
    return x.pow(3).sum(1)


@pytest.mark.parametrize("method", SAMPLED)
def test_one_sample_says_nothing_of_its_error(method: str) -> None:
    """It said that there was none."""
    assert enodo.explain(cubes, X, method, samples=1, **SAMPLED[method]).stderr is None


@pytest.mark.parametrize("method", ["gradient_shap", "smoothgrad", "smoothgrad_sq", "feature_permutation"])
def test_how_wide_the_interval_of_few_samples_is_is_told(method: str) -> None:
    few = enodo.explain(cubes, X, method, samples=3, **SAMPLED[method])
    assert any("a 95 % interval is 4.3 of them" in note for note in few.notes)
    many = enodo.explain(cubes, X, method, samples=20, **SAMPLED[method])
    assert not any("few samples" in note for note in many.notes)


def test_the_error_of_a_variance_counts_its_tails() -> None:
    """Gradients 3 x^2 of x ~ N(0, 1) have the variance 18; a normal sample's has half of its error."""
    x = torch.zeros(400, 2).double()
    given = {"noise": 1.0, "relative": False, "samples": 200}
    found = enodo.explain(cubes, x, "vargrad", **given)
    off = found.tensor - 18 * (1 - 1 / 200)
    assert found.stderr.square().mean().sqrt() > 0.85 * off.square().mean().sqrt()
    assert (off.abs() <= 2 * found.stderr).double().mean() > 0.85
    cut = enodo.explain(cubes, x[:3], "vargrad", batch_size=2, **given)
    torch.testing.assert_close(cut.stderr, found.stderr[:3], rtol=1e-9, atol=0)
