"""Integrated gradients: Sundararajan et al. 2017, equation 1, where the integral is known on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import enodo
from enodo.core import quadrature
from tests.methods.models import Mlp, Toy, brute_force, published_inputs, tensor, uniform

IG = "integrated_gradients"
numbers = st.floats(-3, 3, allow_nan=False).map(lambda v: round(v, 6))


def points(seed: int = 0) -> tuple[Tensor, Tensor]:
    return uniform(5, 3, seed=seed), uniform(5, 3, seed=seed + 1)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("rule", sorted(quadrature.RULES))
def test_a_linear_model_is_exact_under_every_rule(rule, steps):
    x, x0 = points()
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    got = enodo.explain(lambda x: x @ w + 7, x, IG, baseline=x0, steps=steps, quadrature=rule)
    torch.testing.assert_close(got.tensor, w * (x - x0), atol=1e-14, rtol=0)
    assert got.delta is not None
    assert got.delta.abs().max() < 1e-13


@given(numbers, numbers)
@settings(max_examples=25)
def test_a_square_needs_one_gauss_node(x, x0):
    """integral of 2 (x0 + alpha (x - x0)) dalpha, times x - x0, is x^2 - x0^2."""
    got = tensor(lambda x: x[:, 0] ** 2, torch.tensor([[x]], dtype=torch.float64), IG, baseline=x0, steps=1)
    assert got.item() == pytest.approx(x * x - x0 * x0, abs=1e-12)


def test_a_product_is_shared_equally_from_zero():
    """Each factor of x_1 ... x_n gets 1/n of it."""
    x = torch.tensor([[2.0, 3.0, 5.0], [-1.0, 4.0, 0.5]], dtype=torch.float64)
    got = tensor(lambda x: x.prod(1), x, IG, steps=2)
    torch.testing.assert_close(got, x.prod(1, keepdim=True).expand(2, 3) / 3)


def test_a_product_from_another_baseline():
    """x y from (a, b): (x - a) (y + b) / 2 for x, (y - b) (x + a) / 2 for y."""
    (x, y), (a, b) = (3.0, 5.0), (1.0, -2.0)
    got = tensor(lambda v: v[:, 0] * v[:, 1], torch.tensor([[x, y]]), IG, baseline=torch.tensor([[a, b]]), steps=1)
    torch.testing.assert_close(got, torch.tensor([[(x - a) * (y + b) / 2, (y - b) * (x + a) / 2]]))


@pytest.mark.parametrize("ridge", [torch.tanh, torch.exp, torch.sin, torch.sigmoid])
def test_a_ridge_function_shares_the_change_by_the_linear_parts(ridge):
    """g(w x): a_i = w_i (x_i - x0_i) / (w (x - x0)) * (g(w x) - g(w x0)), the mean slope along the path."""
    x, x0 = points()
    w = torch.tensor([1.0, 2.0, -0.7], dtype=torch.float64)
    u, u0 = x @ w, x0 @ w
    wanted = w * (x - x0) * ((ridge(u) - ridge(u0)) / (u - u0))[:, None]
    got = enodo.explain(lambda x: ridge(x @ w), x, IG, baseline=x0, steps=40)
    torch.testing.assert_close(got.tensor, wanted, atol=1e-13, rtol=0)


def test_a_maximum_changes_hands_on_the_way():
    """From (0, 1) to (2, 0), x_1 overtakes x_2 at alpha = 1/3: it gets 2 * 2/3, x_2 gets -1 * 1/3."""
    x, x0 = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    got = enodo.explain(lambda x: x.amax(1), x, IG, baseline=x0, steps=30, quadrature="riemann_middle")
    torch.testing.assert_close(got.tensor, torch.tensor([[4 / 3, -1 / 3]]))
    assert got.delta is not None
    assert abs(got.delta.item()) < 1e-6


def test_a_tie_all_the_way_is_shared():
    got = tensor(lambda x: x.amax(1), torch.tensor([[3.0, 1.0, 3.0]]), IG)
    torch.testing.assert_close(got, torch.tensor([[1.5, 0.0, 1.5]]))


@pytest.mark.parametrize("rule", sorted(quadrature.RULES))
@pytest.mark.parametrize("saturation", [0.0, 3.0, -2.0])
def test_each_rule_is_the_sum_it_says(rule, saturation):
    """f = sum exp(x_i): a_i = x_i sum_j w_j exp(alpha_j x_i), whatever the nodes; the gap is what it lacks."""
    x = uniform(4, 3) * 2
    alphas, weights = quadrature.saturating(*quadrature.rule(rule, 7), saturation)
    wanted = x * sum(w * torch.exp(a * x) for a, w in zip(alphas.tolist(), weights.tolist(), strict=True))
    got = enodo.explain(lambda x: x.exp().sum(1), x, IG, steps=7, quadrature=rule, saturation=saturation)
    torch.testing.assert_close(got.tensor, wanted, atol=1e-14, rtol=1e-14)
    gap = wanted.sum(1) - (x.exp().sum(1) - 3)
    assert got.delta is not None
    torch.testing.assert_close(got.delta, gap, atol=1e-13, rtol=0)
    assert got.rows >= 7 * 4


def test_without_the_product_it_is_the_mean_gradient():
    """The mean of 2 x over the path is x + x0, also where x = x0."""
    x, x0 = points()
    x0[0] = x[0]
    got = tensor(lambda x: x.square().sum(1), x, IG, baseline=x0, steps=1, multiply=False)
    torch.testing.assert_close(got, x + x0)


def test_against_a_thousand_nodes():
    model, (x, x0) = Mlp(3), points()
    wanted = brute_force(lambda x: model(x)[:, 1], x, x0)
    got = enodo.explain(model, x, IG, target=1, baseline=x0, steps=40)
    torch.testing.assert_close(got.tensor, wanted, atol=1e-12, rtol=0)
    assert got.baseline_scores is not None
    torch.testing.assert_close(got.baseline_scores, model(x0)[:, 1].detach())


def test_at_a_layer_the_path_is_straight_in_the_layer():
    """At h the straight line from h(x0) to h(x) is integrated, not the image of the line of the inputs."""
    model, (x, x0) = Mlp(3), points()
    rest = nn.Sequential(model.second, model.act2, model.last)
    h, h0 = (model.act1(model.first(v)).detach() for v in (x, x0))
    wanted = brute_force(lambda h: rest(h)[:, 0], h, h0)
    got = enodo.explain(model, x, IG, target=0, baseline=x0, wrt="act1", steps=40)
    torch.testing.assert_close(got.tensor, wanted, atol=1e-12, rtol=0)
    assert got.delta is not None
    assert got.delta.abs().max() < 1e-12


def test_the_published_toy_result():
    x = published_inputs()
    got = tensor(Toy(), x, IG)
    torch.testing.assert_close(got, 3 * x)  # the unit with bias -10 stays off, the three others are linear
    published = torch.tensor([[0.8883, 1.5497, 0.7550], [2.0657, 0.2219, 2.5996]])
    torch.testing.assert_close(got, published, atol=5e-5, rtol=0)


class TestAxioms:
    """The axioms of section 2 and 3, on networks."""

    def test_sensitivity_a_value_that_decides_alone_gets_the_change(self):
        """1 - relu(1 - x) is flat at x = 2, where its gradient is 0; its attribution is not."""
        x = torch.tensor([[2.0]])
        got = tensor(lambda x: 1 - torch.relu(1 - x[:, 0]), x, IG, quadrature="riemann_middle")
        torch.testing.assert_close(got, torch.tensor([[1.0]]))
        assert tensor(lambda x: 1 - torch.relu(1 - x[:, 0]), x, "gradient").item() == 0

    def test_implementation_invariance(self):
        """Two programs of one function have one explanation."""
        x = uniform(4, 3)
        one = tensor(lambda x: torch.log(torch.exp(x).prod(1)) * x[:, 0], x, IG)
        other = tensor(lambda x: x.sum(1) * x[:, 0], x, IG)
        torch.testing.assert_close(one, other, atol=1e-13, rtol=0)

    def test_symmetry(self):
        """Variables that may be swapped, equal at x and at x0, get the same."""
        x = torch.tensor([[0.7, 0.7, -0.2]])
        got = tensor(lambda x: torch.sin(x[:, 0] * x[:, 1] + x[:, 2]), x, IG)[0]
        assert got[0] == got[1]
        assert got[0] != got[2]

    @given(numbers, numbers)
    @settings(max_examples=10)
    def test_linearity(self, a, b):
        """The explanation of a f + b g is a times that of f plus b times that of g."""
        f, g, x = Mlp(3, seed=1), Mlp(3, seed=2), uniform(4, 3)
        both = tensor(lambda x: a * f(x)[:, 0] + b * g(x)[:, 2], x, IG, steps=9)
        parts = a * tensor(f, x, IG, target=0, steps=9) + b * tensor(g, x, IG, target=2, steps=9)
        torch.testing.assert_close(both, parts, atol=1e-12, rtol=0)

    def test_dummy(self):
        got = tensor(lambda x: x[:, 0] ** 3, uniform(4, 3), IG)
        assert torch.equal(got[:, 1:], torch.zeros(4, 2, dtype=torch.float64))


def test_gauss_converges_geometrically_and_the_left_sum_does_not():
    """exp from 0 to 2: an error of O(1/n) for the left sum (halved by doubling), 1e-14 at 10 Gauss nodes."""
    x = torch.tensor([[2.0]], dtype=torch.float64)
    truth = math.expm1(2)

    def error(rule: str, steps: int) -> float:
        return abs(tensor(lambda x: x[:, 0].exp(), x, IG, steps=steps, quadrature=rule).item() - truth)

    assert error("gausslegendre", 10) < 1e-13
    for n in (50, 100, 200):
        assert error("riemann_left", n) / error("riemann_left", 2 * n) == pytest.approx(2, rel=0.02)
        assert error("riemann_trapezoid", n) / error("riemann_trapezoid", 2 * n - 1) == pytest.approx(4, rel=0.02)


def test_several_inputs_share_one_path():
    """x y z with the factors in three inputs of different shapes: a third each, spread over the entries."""
    x, y, z = uniform(4, 2), uniform(4, 3, 2, seed=1), uniform(4, seed=2)

    def score(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return x.sum(1) * y.flatten(1).sum(1) * z

    got = enodo.explain(score, (x, y, z), IG, steps=2)
    (sx, sy) = (x.sum(1), y.flatten(1).sum(1))
    torch.testing.assert_close(got[0], x * (sy * z / 3)[:, None])
    torch.testing.assert_close(got[1], y * (sx * z / 3)[:, None, None])
    torch.testing.assert_close(got[2], sx * sy * z / 3)


def test_nodes_are_given_to_the_model_as_they_are_said():
    """The points that the model is run at are x0 + alpha_j (x - x0)."""
    seen: list[np.ndarray] = []

    def score(x: Tensor) -> Tensor:
        seen.append(x.detach().numpy().copy())
        return x[:, 0] ** 2

    x, x0 = torch.tensor([[4.0]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    enodo.explain(score, x, IG, baseline=x0, steps=5, batch_size=2)
    ran = {float(v) for block in seen for v in block[:, 0]}
    alphas, _ = quadrature.rule("gausslegendre", 5)
    assert all(any(abs(1 + 3 * a - v) < 1e-12 for v in ran) for a in alphas)
    assert max(len(block) for block in seen) <= 2
