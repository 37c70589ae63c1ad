"""The published results of the toy model that Captum's documentation walks through."""

from __future__ import annotations

import captum.attr as theirs
import pytest
import torch
from torch import nn

import enodo.captum.attr as ours


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin1, self.lin2, self.relu, self.lin3 = nn.Linear(3, 3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)
        with torch.no_grad():
            self.lin1.weight.copy_(torch.eye(3))
            self.lin1.bias.zero_()
            self.lin2.weight.fill_(1.0)
            self.lin2.bias.copy_(torch.tensor([-10.0, 1.0, 1.0, 1.0]))
            self.lin3.weight.fill_(1.0)
            self.lin3.bias.fill_(-3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin3(self.relu(self.lin2(self.lin1(x))))


@pytest.fixture
def toy() -> tuple[Toy, torch.Tensor]:
    model = Toy().eval()
    torch.manual_seed(123)
    return model, torch.rand(2, 3)


INTEGRATED = torch.tensor([[0.8883, 1.5497, 0.7550], [2.0657, 0.2219, 2.5996]])


def test_integrated_gradients(toy: tuple[Toy, torch.Tensor]) -> None:
    model, x = toy
    found, delta = ours.IntegratedGradients(model).attribute(x, torch.zeros(2, 3), return_convergence_delta=True)
    torch.testing.assert_close(found, INTEGRATED, rtol=0, atol=5e-5)
    assert delta.abs().max() < 1e-5


PUBLISHED = torch.tensor([[0.2902, 0.5062, 0.2466], [0.6748, 0.0725, 0.8492]])  # neuron conductance, 50 steps


def test_neuron_conductance(toy: tuple[Toy, torch.Tensor]) -> None:
    """Neuron 3 is x1 + x2 + x3 + 1 > 0 all along the path, with weight 1: its conductance is x itself.

    The published numbers are 49/50 of that: the weights of the 50-step trapezoid that made them sum to 49/50.
    """
    model, x = toy
    published = theirs.NeuronConductance(model, model.lin2).attribute(x, neuron_selector=3, target=0)
    torch.testing.assert_close(published, PUBLISHED, rtol=0, atol=1e-4)
    found = ours.NeuronConductance(model, model.lin2).attribute(x, neuron_selector=3, target=0)
    torch.testing.assert_close(found * 49 / 50, PUBLISHED, rtol=0, atol=1e-4)
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "method", ["gausslegendre", "riemann_trapezoid", "riemann_left", "riemann_right", "riemann_middle"]
)
def test_neuron_conductance_is_the_same_by_every_rule(toy: tuple[Toy, torch.Tensor], method: str) -> None:
    model, x = toy
    found = ours.NeuronConductance(model, model.lin2).attribute(x, neuron_selector=3, target=0, method=method)
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-6)


def test_layer_conductance_approaches_integrated_gradients(toy: tuple[Toy, torch.Tensor]) -> None:
    """At lin1, the identity: Gauss nodes leave out the two ends of the path, which shrink as steps grow."""
    model, x = toy
    gaps = []
    for steps in (5, 50, 500):
        found = ours.LayerConductance(model, model.lin1).attribute(x, torch.zeros(2, 3), n_steps=steps)
        gaps.append((found - 3 * x).abs().max().item())
    assert gaps[2] < 5e-5 < gaps[1] / 10 < gaps[0] / 100


def test_layer_conductance_on_a_path_with_both_ends_is_integrated_gradients(toy: tuple[Toy, torch.Tensor]) -> None:
    model, x = toy
    conductance = ours.LayerConductance(model, model.lin1)
    found = conductance.attribute(x, torch.zeros(2, 3), n_steps=4, method="riemann_trapezoid")
    torch.testing.assert_close(found, INTEGRATED, rtol=0, atol=5e-5)
