"""Gradients at one point: Simonyan et al. 2013, section 3; Shrikumar et al. 2016, section 2."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import enodo
from tests.methods.models import Mlp, Squares, Toy, tensor, uniform

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]], dtype=torch.float64)


def quadratic(x: torch.Tensor) -> torch.Tensor:
    """x' A x + b' x, whose gradient is (A + A') x + b."""
    return torch.einsum("bi,ij,bj->b", x, A, x) + x @ B


A, B = uniform(3, 3, seed=3), uniform(3, seed=4)


@pytest.mark.parametrize("target", [0, 1])
def test_a_linear_model_has_its_weights_as_gradient(target):
    x = uniform(5, 3)
    got = tensor(lambda x: x @ WEIGHTS.T, x, "gradient", target=target)
    assert torch.equal(got, WEIGHTS[target].expand(5, 3))


def test_the_gradient_of_a_quadratic():
    x = uniform(7, 3)
    torch.testing.assert_close(tensor(quadratic, x, "gradient"), x @ (A + A.T) + B, atol=1e-14, rtol=0)


def test_absolute_is_the_saliency_map():
    x = uniform(7, 3)
    wanted = (x @ (A + A.T) + B).abs()
    assert (x @ (A + A.T) + B < 0).any()
    torch.testing.assert_close(tensor(quadratic, x, "saliency", absolute=True), wanted, atol=1e-14, rtol=0)


def test_the_gradient_of_a_product_is_the_other_factor():
    x = torch.tensor([[2.0, 3.0, 5.0]])
    got = tensor(lambda x: x.prod(1), x, "gradient")
    assert torch.equal(got, torch.tensor([[15.0, 10.0, 6.0]]))


def test_the_gradient_of_a_maximum_belongs_to_the_largest_and_is_shared_at_a_tie():
    x = torch.tensor([[1.0, 4.0, 2.0], [3.0, 1.0, 3.0]])
    got = tensor(lambda x: x.amax(1), x, "gradient")
    assert torch.equal(got, torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]))


def test_input_x_gradient_of_a_quadratic():
    x = uniform(7, 3)
    torch.testing.assert_close(tensor(quadratic, x, "input_x_gradient"), x * (x @ (A + A.T) + B), atol=1e-14, rtol=0)


def test_input_x_gradient_adds_up_to_the_score_of_a_homogeneous_model():
    """Euler: sum_i x_i df/dx_i = k f(x) for f homogeneous of degree k; a bias-free ReLU network has k = 1."""
    model = nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False)).double().eval()
    x = uniform(6, 3)
    got = enodo.explain(model, x, "input_x_gradient", target=1)
    torch.testing.assert_close(got.sum(1), model(x)[:, 1].detach(), atol=1e-14, rtol=0)
    cubic = tensor(lambda x: x.prod(1), x, "input_x_gradient")
    torch.testing.assert_close(cubic.sum(1), 3 * x.prod(1), atol=1e-14, rtol=0)


def test_at_a_layer_by_hand():
    """score = 3 h_0 + h_1^2: the gradient at h is (3, 2 h_1), times the activation (3 h_0, 2 h_1^2)."""
    model, x = Squares(), uniform(4, 3)
    h = x @ Squares.WEIGHT.T
    gradient = torch.stack([torch.full((4,), 3.0, dtype=torch.float64), 2 * h[:, 1]], 1)
    torch.testing.assert_close(tensor(model, x, "gradient", wrt="hidden"), gradient)
    torch.testing.assert_close(tensor(model, x, "gradient_x_activation", wrt="hidden"), gradient * h)
    torch.testing.assert_close(tensor(model, x, "gradient_x_activation", wrt="hidden", multiply=False), gradient)
    torch.testing.assert_close(tensor(model, x, "input_x_gradient", wrt="hidden"), gradient * h)


def test_a_loss_that_a_layer_returns_beside_its_value_is_left_alone():
    class Layer(nn.Linear):
        def forward(self, x):
            return super().forward(x), x.square().sum() * 0.1

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Layer(3, 2)

        def forward(self, x):
            return self.layer(x)[0]

    for batch_size in ("auto", 1):
        got = enodo.explain(Model().eval(), torch.rand(4, 3), "gradient", target=1, wrt="layer", batch_size=batch_size)
        assert torch.equal(got[0], torch.tensor([[0.0, 1.0]] * 4))
        assert got[1].item() == 0


def test_of_a_neuron_by_hand():
    """The neuron h_1 = W_1 x has the gradient W_1."""
    got = tensor(Squares(), uniform(4, 3), "gradient", of="hidden", target=1)
    assert torch.equal(got, Squares.WEIGHT[1].expand(4, 3))


def test_of_a_neuron_at_a_layer_by_hand():
    """lin2's neuron 0 has the weights 1 at lin1, whatever the ReLU after it does."""
    x = torch.rand(2, 3)
    assert torch.equal(tensor(Toy(), x, "gradient", wrt="lin1", of="lin2", target=0), torch.ones(2, 3))


def test_the_scores_are_the_models():
    model, x = Mlp(), uniform(5, 4)
    got = enodo.explain(model, x, "gradient", target=2)
    assert got.scores is not None
    assert torch.equal(got.scores, model(x)[:, 2].detach())
    assert got.delta is None
    assert got.baseline_scores is None
    assert got.rows == 5


def test_a_gradient_claims_no_completeness():
    cards = enodo.methods()
    claiming = {name for name, card in cards.items() if "completeness" in card.claims}
    assert claiming >= {"integrated_gradients", "conductance", "gradient_shap"}
    assert not claiming & {"gradient", "input_x_gradient", "gradient_x_activation", "activation", "internal_influence"}
