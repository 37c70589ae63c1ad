"""Gradient SHAP / expected gradients: Erion et al. 2021, equation 3, against the expectation in closed form.

Rows draw from streams of their own, so that 200 equal rows are 200 independent runs.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import enodo
from enodo import BadArgument
from tests.methods.models import Mlp, Squares, brute_force, tensor, uniform

BACKGROUND = uniform(6, 3, seed=7)


def expectation(score: object, x: Tensor, background: Tensor) -> Tensor:
    """The expectation by brute force: integrated gradients averaged over all baselines."""
    return torch.stack([brute_force(score, x, b) for b in background]).mean(0)  # type: ignore[arg-type]


def test_the_expectation_for_a_sum_of_squares():
    """E[(x - b) 2 (b + alpha (x - b))] = x^2 - E[b^2]."""
    x = uniform(1, 3)
    got = enodo.explain(lambda x: x.square().sum(1), x.expand(200, 3), "gradient_shap", baseline=BACKGROUND, samples=40)
    wanted = (x**2 - BACKGROUND.square().mean(0))[0]
    mean, spread = got.tensor.mean(0), got.tensor.std(0) / 200**0.5
    assert ((mean - wanted).abs() < 4 * spread).all()
    assert spread.max() < 0.02


def test_the_expectation_of_a_network_by_brute_force():
    model, x = Mlp(3), uniform(1, 3)
    got = tensor(model, x.expand(200, 3), "expected_gradients", baseline=BACKGROUND, target=1, samples=40)
    wanted = expectation(lambda x: model(x)[:, 1], x, BACKGROUND)[0]
    assert ((got.mean(0) - wanted).abs() < 4 * got.std(0) / 200**0.5).all()


def test_the_standard_error_covers_the_expectation_as_often_as_it_says():
    """95 % of 200 seeds: the expectation is within 1.96 standard errors, by each seed's own estimate."""
    model, x = Mlp(3), uniform(1, 3)
    wanted = expectation(lambda x: model(x)[:, 1], x, BACKGROUND)
    inside = torch.zeros(3)
    for seed in range(200):
        got = enodo.explain(model, x, "gradient_shap", baseline=BACKGROUND, target=1, samples=60, seed=seed)
        inside += ((got.tensor - wanted).abs() <= 1.96 * got.stderr)[0]
    assert (inside / 200 > 0.90).all()
    assert (inside / 200 < 0.99).all()


def test_the_standard_error_falls_with_the_square_root_of_the_samples():
    model, x = Mlp(3), uniform(1, 3).expand(50, 3)
    few, many = (
        enodo.explain(model, x, "gradient_shap", baseline=BACKGROUND, target=1, samples=n).stderr for n in (25, 400)
    )
    assert (few.mean() / many.mean()).item() == pytest.approx(4, rel=0.1)


def test_noise_on_the_inputs_adds_its_variance():
    """E over e ~ N(0, s^2) of (x + e)^2 - b^2 is x^2 + s^2 - b^2, for every value."""
    x = uniform(1, 3).expand(800, 3)
    options = {"baseline": torch.zeros(1, 3, dtype=torch.float64), "samples": 20}
    got = enodo.explain(lambda x: x.square().sum(1), x, "gradient_shap", noise=0.5, **options).tensor
    wanted = x[0] ** 2 + 0.25
    assert ((got.mean(0) - wanted).abs() < 4 * got.std(0) / 800**0.5).all()
    quiet = enodo.explain(lambda x: x.square().sum(1), x, "gradient_shap", **options).tensor
    assert ((quiet.mean(0) - x[0] ** 2).abs() < 4 * quiet.std(0) / 800**0.5).all()


def test_a_linear_model_with_one_baseline_is_exact_with_one_sample():
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x, b = uniform(4, 3), uniform(1, 3, seed=2)
    got = enodo.explain(lambda x: x @ w, x, "gradient_shap", baseline=b, samples=1)
    torch.testing.assert_close(got.tensor, w * (x - b), atol=1e-14, rtol=0)
    assert got.delta.abs().max() < 1e-14


def test_without_the_product_it_is_the_expected_gradient():
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    got = tensor(lambda x: x @ w, uniform(4, 3), "gradient_shap", baseline=BACKGROUND, samples=3, multiply=False)
    torch.testing.assert_close(got, w.expand(4, 3))


def test_the_gap_is_against_the_mean_score_of_the_background():
    model, x = Mlp(3), uniform(4, 3)
    got = enodo.explain(model, x, "gradient_shap", baseline=BACKGROUND, target=1, samples=10)
    mean = model(BACKGROUND)[:, 1].mean().detach()
    torch.testing.assert_close(got.baseline_scores, mean.expand(4))
    torch.testing.assert_close(got.delta, got.sum(1) - (got.scores - mean))


def test_at_a_layer_by_hand():
    """score = 3 h_0 + h_1^2 with inputs on a line: 3 (h_0 - E h0_0) and h_1^2 - E h0_1^2, in expectation."""
    x = uniform(1, 3)
    got = tensor(Squares(), x.expand(200, 3), "gradient_shap", baseline=BACKGROUND, wrt="hidden", samples=40)
    h, h0 = x @ Squares.WEIGHT.T, BACKGROUND @ Squares.WEIGHT.T
    wanted = torch.stack([3 * (h[0, 0] - h0[:, 0].mean()), h[0, 1] ** 2 - h0[:, 1].square().mean()])
    assert ((got.mean(0) - wanted).abs() < 4 * got.std(0) / 200**0.5).all()


def test_rows_seeds_and_passes():
    """A row's answer hangs on its place in the batch and the seed, not on its mates or the size of passes."""
    model, x = Mlp(3), uniform(5, 3)
    options = {"baseline": BACKGROUND, "target": 1, "samples": 7, "noise": 0.1}
    before = torch.random.get_rng_state()
    whole = tensor(model, x, "gradient_shap", **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    for batch_size in (1, 2, 5, 13):
        cut = tensor(model, x, "gradient_shap", batch_size=batch_size, **options)
        torch.testing.assert_close(cut, whole, atol=1e-13, rtol=0)
    torch.testing.assert_close(tensor(model, x[:2], "gradient_shap", **options), whole[:2], atol=1e-13, rtol=0)
    torch.manual_seed(99)
    assert torch.equal(tensor(model, x, "gradient_shap", **options), whole)
    assert not torch.allclose(tensor(model, x, "gradient_shap", seed=1, **options), whole)


def test_the_seed_is_recorded():
    got = enodo.explain(Mlp(3), uniform(2, 3), "gradient_shap", baseline=BACKGROUND, target=0, seed=12)
    assert got.seed == 12
    assert enodo.explain(Mlp(3), uniform(2, 3), target=0).seed is None


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 2.0}, "samples"),
        ({"samples": True}, "samples"),
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"baseline": torch.zeros(4, 2)}, "baseline"),
        ({"baseline": torch.zeros(0, 3)}, "baseline"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_bad_options_are_refused_by_name(options, argument):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(Mlp(3), uniform(2, 3), "gradient_shap", target=0, **options)
    assert argument in caught.value.argument
