"""Layer-wise relevance propagation: its rules by hand, and what they conserve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.rules import lrp as rules
from enodo.testing.models import normal, seeded

X = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)
W = torch.tensor([[3.0, -1.0, -2.0]], dtype=torch.float64)


def lrp(model: object, x: Tensor, **options: object) -> Tensor:
    return enodo.explain(model, x, "lrp", **options).tensor


def weighted(bias: float = 0.0) -> object:
    b = torch.tensor([bias], dtype=torch.float64)
    return lambda x: F.linear(x, W, b)[:, 0]


def test_lrp_0_and_epsilon() -> None:
    """x w = 3, -2, 2: z = 3 without bias; of z = 4 the bias keeps its share, and epsilon = 1 takes a fifth."""
    expected = torch.tensor([[3.0, -2.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(lrp(weighted(), X, composite="zero"), expected)
    torch.testing.assert_close(lrp(weighted(1.0), X, composite="zero"), expected)
    torch.testing.assert_close(lrp(weighted(1.0), X, epsilon=1.0), expected * 4 / 5)


def test_lrp_gamma() -> None:
    """With gamma = 1 what is positive counts twice, 6, -2, 4: shares of z+ = 8 in the relevance 3."""
    expected = torch.tensor([[6.0, -2.0, 4.0]], dtype=torch.float64) * 3 / 8
    torch.testing.assert_close(lrp(weighted(), X, composite="gamma", gamma=1.0), expected)


def test_lrp_alpha_beta() -> None:
    """Equation 60 with alpha = 2, beta = 1: 2 (3, 2)/5 and -1 (-2)/(-2) of the relevance 3."""
    expected = torch.tensor([[2 * 3 / 5, -1.0, 2 * 2 / 5]], dtype=torch.float64) * 3
    with_two = {"linear": rules.alpha_beta(2.0, 1.0)}
    torch.testing.assert_close(lrp(weighted(), X, rules=with_two), expected)
    plus = torch.tensor([[3 / 5, 0.0, 2 / 5]], dtype=torch.float64) * 3
    torch.testing.assert_close(lrp(weighted(), X, composite="alpha1_beta0"), plus)
    with pytest.raises(enodo.BadArgument, match="alpha"):
        rules.alpha_beta(2.0, 0.5)


def test_all_relevance_goes_through_an_activation() -> None:
    torch.testing.assert_close(lrp(lambda x: F.gelu(x[:, 0]), X[:, :1] + 1).sum(1), F.gelu(X[:, 0] + 1))


def test_factors_share_and_gates_take_none() -> None:
    found = lrp(lambda x: x[:, 0] * x[:, 1], X)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64))
    gated = lrp(lambda x: torch.sigmoid(x[:, 0]) * x[:, 1], X)
    torch.testing.assert_close(gated, torch.tensor([[0.0, 2 * torch.sigmoid(X[0, 0]), 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    "laid_out",
    [
        lambda g, x: g[:, :, None, None],
        lambda g, x: g.view(2, 3, 1, 1).expand_as(x),
        lambda g, x: g.unsqueeze(1).transpose(1, 2)[..., None].repeat(1, 1, 4, 5),
        lambda g, x: g.reshape(2, 1, 1, 3).permute(0, 3, 1, 2).contiguous(),
    ],
)
def test_a_gate_is_one_however_it_is_laid_out(laid_out: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Squeeze and excitation: the relevance is that of x in x * gate."""
    x = normal(2, 3, 4, 5)
    gate = torch.sigmoid(x.mean((2, 3)))[:, :, None, None]
    found = lrp(lambda x: (laid_out(torch.sigmoid(x.mean((2, 3))), x) * x).sum((1, 2, 3)), x)
    torch.testing.assert_close(found, x * gate)


def test_softmax_as_attnlrp_proposition_3_1() -> None:
    """R_i = x_i (R_i' - y_i sum R'), for relevance R' of the softmax y."""
    x, v = normal(2, 4), normal(4, seed=1)
    y = torch.softmax(x, 1)
    after = y * v
    torch.testing.assert_close(lrp(lambda x: torch.softmax(x, 1) @ v, x), x * (after - y * after.sum(1, keepdim=True)))
    constant = lrp(lambda x: torch.softmax(x, 1) @ v + 2 * x[:, 0], x, composite="cp")
    torch.testing.assert_close(constant, torch.cat([2 * x[:, :1], 0 * x[:, 1:]], 1))


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_norms_are_linear_as_attnlrp_proposition_3_4(norm: type[nn.Module]) -> None:
    layer = norm(6, elementwise_affine=False).double()
    x, v = normal(2, 6), normal(6, seed=1)
    torch.testing.assert_close(lrp(lambda x: layer(x) @ v, x).sum(1), layer(x) @ v)


def network() -> nn.Module:
    layers = (
        nn.Conv2d(2, 4, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2, bias=False),
        nn.ReLU(inplace=True),
    )
    return seeded(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3, bias=False)))


@pytest.mark.parametrize(
    "composite",
    ["zero", "epsilon", "gamma", "epsilon_gamma", "epsilon_plus", "epsilon_alpha2_beta1", "alpha1_beta0", "cp"],
)
def test_relevance_is_conserved(composite: str) -> None:
    found = enodo.explain(network(), normal(3, 2, 8, 8), "lrp", target=1, composite=composite)
    if composite != "alpha1_beta0":  # which drops what speaks against a negative score
        assert (found.delta.abs() <= 1e-6 * found.scores.abs()).all()
    torch.testing.assert_close(found.delta, found.tensor.sum((1, 2, 3)) - found.scores)


def test_without_biases_lrp_0_is_input_x_gradient() -> None:
    x = normal(3, 2, 8, 8)
    true = enodo.explain(network(), x, "input_x_gradient", target=1).tensor
    torch.testing.assert_close(lrp(network(), x, target=1, composite="zero"), true)
    torch.testing.assert_close(lrp(network(), x, target=1, epsilon=1e-12), true)


def test_at_every_layer_the_sum_is_the_score() -> None:
    for layer in ("0", "2", "4", "5"):
        found = enodo.explain(network(), normal(3, 2, 8, 8), "lrp", target=1, wrt=layer)
        assert (found.delta.abs() <= 1e-6 * found.scores.abs()).all()


def test_unknown_composites_are_refused() -> None:
    with pytest.raises(enodo.BadArgument, match=r"composite.*epsilon_plus"):
        lrp(network(), normal(1, 2, 8, 8), target=1, composite="epsilon_pls")
