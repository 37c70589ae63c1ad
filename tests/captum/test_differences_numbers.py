"""Deliberate differences from Captum in numbers: its answer, ours, and the closed form where there is one."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr as theirs
import captum.attr._utils.lrp_rules as their_rules
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
import enodo.captum.attr._utils.lrp_rules as our_rules
from tests.captum.compare import close
from tests.captum.models import Lambda, Model

pytestmark = pytest.mark.filterwarnings("ignore")


def double_sum(x: Tensor) -> Tensor:
    return 2 * x.sum(1)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_trapezoid_weights(steps: int) -> None:
    """A linear function: its integrated gradients are w (x - x0)."""
    x = torch.randn(3, 4)
    question = {"inputs": x, "n_steps": steps, "method": "riemann_trapezoid"}
    close(theirs.IntegratedGradients(double_sum).attribute(**question), 2 * x * (steps - 1) / steps)
    close(ours.IntegratedGradients(double_sum).attribute(**question), 2 * x)


def test_neuron_conductance_default() -> None:
    """f = 2 h, h = 3 x: all that changes f flows through h, 6 x."""
    inner, x = nn.Linear(1, 1, bias=False), torch.randn(3, 1)
    nn.init.constant_(inner.weight, 3.0)
    found = [attr.NeuronConductance(lambda x: 2 * inner(x), inner).attribute(x, 0, target=0) for attr in (theirs, ours)]
    close(found[0], 6 * x * 49 / 50)
    close(found[1], 6 * x)


def test_group_conductance() -> None:
    """f = a h_0 + b h_1 with h = W x: through both flow the columns of (a W_0 + b W_1) x."""
    inner, outer = nn.Linear(2, 2, bias=False), torch.tensor([[2.0], [5.0]])
    x, both, rule = torch.randn(3, 2), (slice(0, 2),), {"method": "gausslegendre"}
    found = [
        attr.NeuronConductance(lambda x: inner(x) @ outer, inner).attribute(x, both, target=0, **rule)
        for attr in (theirs, ours)
    ]
    w = inner.weight.detach()
    close(found[0], (2 + 5) * (w[0] + w[1]) * x)
    close(found[1], (2 * w[0] + 5 * w[1]) * x)


def test_layer_input_used_elsewhere() -> None:
    """f = sum(3 x + 7 x), the layer being 3 x: through it flows 3 x."""

    class Residual(Model):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.layer = nn.Identity(), nn.Linear(2, 2, bias=False)
            self.layer.weight.data = 3 * torch.eye(2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.start(x)
            return (self.layer(h) + 7 * h).sum(1)

    model, x = Residual(), torch.randn(3, 2)
    found = {}
    for attr in (theirs, ours):
        for name in ("LayerGradientXActivation", "LayerIntegratedGradients"):
            explainer = getattr(attr, name)(model, model.layer)
            found[attr, name] = explainer.attribute(x, attribute_to_layer_input=True).detach()
    close(found[theirs, "LayerGradientXActivation"], 10 * x)
    for answer in (
        found[theirs, "LayerIntegratedGradients"],
        found[ours, "LayerIntegratedGradients"],
        found[ours, "LayerGradientXActivation"],
    ):
        close(answer, 3 * x)


def test_nodes_in_float64() -> None:
    """The integral of a cubic is exact with 50 Gauss nodes: x^3."""
    x = torch.randn(5, 3, dtype=torch.float64)
    errors = [
        (attr.IntegratedGradients(lambda x: (x**3).sum(1)).attribute(x) - x**3).abs().max() for attr in (theirs, ours)
    ]
    assert errors[0] > 1e-10
    assert errors[1] < 1e-13


def test_joint_background() -> None:
    """f = (x + y)^2 and a background of pairs (b, -b): mean f = 0 over pairs, 1 over all combinations of two."""
    x, y, b = torch.full((1, 1), 2.0), torch.full((1, 1), 1.0), torch.tensor([[1.0], [-1.0]])
    totals = []
    for attr in (theirs, ours):
        torch.manual_seed(0)
        explainer = attr.GradientShap(lambda x, y: (x + y).square().sum(1))
        totals.append(sum(a.item() for a in explainer.attribute((x, y), (b, -b), n_samples=20000)))
    assert totals[0] == pytest.approx(9 - (4 + 4 + 0 + 0) / 4, abs=0.3)
    assert totals[1] == pytest.approx(9 - 0, abs=0.3)


def test_rows_stand_alone() -> None:
    x, answers = torch.randn(4, 3), {}
    for attr in (theirs, ours):
        explainer = attr.NoiseTunnel(attr.InputXGradient(lambda x: (x**3).sum(1)))
        for rows in (1, 4):
            torch.manual_seed(0)
            answers[attr, rows] = explainer.attribute(x[:rows], nt_samples=3)[0]
    assert not torch.allclose(answers[theirs, 1], answers[theirs, 4])
    close(answers[ours, 1], answers[ours, 4])


def test_smoothed_delta_order() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    deltas = []
    for attr in (theirs, ours):
        explainer = attr.NoiseTunnel(attr.IntegratedGradients(lambda x: (x**3).sum(1)))
        question = {
            "nt_samples": 4,
            "stdevs": 0.0,
            "method": "riemann_left",
            "n_steps": 5,
            "return_convergence_delta": True,
        }
        deltas.append(explainer.attribute(x, nt_samples_batch_size=2, **question)[1])
    first, second = deltas[1][0].item(), deltas[1][4].item()
    close(deltas[0], torch.tensor([first] * 2 + [second] * 2).repeat(2))
    close(deltas[1], torch.tensor([first] * 4 + [second] * 4))


def test_far_from_zero() -> None:
    """Mean and variance of 1000 numbers around 10,000, which float32 holds to 0.001."""
    torch.manual_seed(0)
    xs = [10_000 + torch.randn(3) for _ in range(1000)]
    stacked = torch.stack(xs).double()
    errors, dtypes = [], []
    for attr in (theirs, ours):
        summarizer = attr.Summarizer([attr.Mean(), attr.Var()])
        for x in xs:
            summarizer.update(x)
        mean, variance = summarizer.summary["mean"], summarizer.summary["variance"]
        errors.append([(mean - stacked.mean(0)).abs().max(), (variance - stacked.var(0, correction=0)).abs().max()])
        dtypes.append(variance.dtype)
    assert errors[0][0] > 5e-3 > 1e-3 > errors[1][0]  # 0.0005 is half a step of float32 there
    assert errors[0][1] > 5e-5 > 1e-6 > errors[1][1]
    assert dtypes == [torch.float64, torch.float32]


def test_softmax_by_rows() -> None:
    """The attributions of a row sum to f(x) - f(x0), whatever rows come along."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Softmax(1)).eval()
    x = torch.randn(4, 3)
    rise = model(x)[:, 0] - model(torch.zeros(1, 3))[0, 0]
    found = [attr.DeepLift(model).attribute(x, target=0) for attr in (theirs, ours)]
    alone = [attr.DeepLift(model).attribute(x[:1], target=0) for attr in (theirs, ours)]
    assert (found[0].sum(1) - rise).abs().max() > 1e-3
    assert (found[0][:1] - alone[0]).abs().max() > 1e-4
    close(found[1].sum(1), rise)
    close(found[1][:1], alone[1])


@pytest.mark.parametrize("act", [torch.tanh, torch.nn.functional.gelu, torch.exp, lambda h: h * h])
def test_operations_without_a_module(act: Callable[[Tensor], Tensor]) -> None:
    """f = sum act(x): the attributions are act(x) - act(x0), entry by entry."""
    x, x0 = torch.randn(4, 3), torch.randn(4, 3)
    model = Lambda(lambda x: act(x).sum(1))
    found = [attr.DeepLift(model).attribute(x, x0) for attr in (theirs, ours)]
    slope = torch.autograd.functional.vjp(lambda t: act(t).sum(), x)[1]
    close(found[0], slope * (x - x0))
    close(found[1], act(x) - act(x0))


def test_relus_without_a_module() -> None:
    """f = relu(x_0) - relu(x_1) at (1, 1): guided backpropagation stops the negative gradient."""
    model = Lambda(lambda x: torch.relu(x[:, 0]) - torch.relu(x[:, 1]))
    found = [attr.GuidedBackprop(model).attribute(torch.ones(1, 2)) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[1.0, -1.0]]))
    close(found[1], torch.tensor([[1.0, 0.0]]))


def test_relus_with_an_upper_limit() -> None:
    """f = relu6(x_0) - relu6(x_1) at (1, 1): guided backpropagation stops the negative gradient."""
    act = torch.nn.ReLU6()
    model = Lambda(lambda x: act(x[:, 0]) - act(x[:, 1]))
    found = [attr.GuidedBackprop(model).attribute(torch.ones(1, 2)) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[1.0, -1.0]]))
    close(found[1], torch.tensor([[1.0, 0.0]]))


def test_a_module_that_runs_twice() -> None:
    """relu(relu(x)) from -1 to 2: 2."""
    relu = nn.ReLU()
    model, x, x0 = Lambda(lambda x: relu(relu(x)).sum(1), relu), torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    with pytest.raises(RuntimeError):
        theirs.DeepLift(model).attribute(x, x0)
    close(ours.DeepLift(model).attribute(x, x0), torch.tensor([[2.0]]))


def test_relevance_of_sums() -> None:
    """f = v (A h + h) with h = W x has no bias: relevance is x times the gradient, and its sum is f(x)."""
    first, second, last = (nn.Linear(i, j, bias=False) for i, j in ((2, 2), (2, 2), (2, 1)))
    for layer, weights in ((first, [[1.0, 2], [3, 4]]), (second, [[1.0, -2], [3, 1]]), (last, [[1.0, 2]])):
        layer.weight.data = torch.tensor(weights)

    def residual(x: Tensor) -> Tensor:
        h = first(x)
        return last(second(h) + h)[:, 0]

    x = torch.tensor([[1.0, 2.0]])
    found = [lib.LRP(Lambda(residual, first, second, last)).attribute(x) for lib in (theirs, ours)]
    close(found[1], x * (last.weight @ (second.weight + torch.eye(2)) @ first.weight).detach())
    assert residual(x).item() == 62
    assert found[0].sum() > 800


def test_relevance_rules_stay_on_modules() -> None:
    """A rule set on a module holds for the second call too."""
    layer = nn.Linear(3, 2)
    question, found = (torch.rand(2, 3), 1), {}
    for lib, kind in ((theirs, their_rules), (ours, our_rules)):
        layer.rule = kind.GammaRule(gamma=3.0)
        lrp = lib.LRP(nn.Sequential(layer).eval())
        found[lib] = [lrp.attribute(*question) for _ in range(2)]
    close(found[theirs][0], found[ours][0])
    assert (found[theirs][1] - found[theirs][0]).abs().max() > 1e-3
    close(found[ours][1], found[ours][0])


def test_overlapping_max_pools() -> None:
    """Windows (a, b) and (b, c), weights 1 and 2: b falling from 1 to 0 costs 3."""
    model = nn.Sequential(nn.MaxPool1d(2, 1), nn.Flatten(), nn.Linear(2, 1, bias=False)).eval()
    model[2].weight.data = torch.tensor([[1.0, 2.0]])
    x, x0 = torch.zeros(1, 1, 3), torch.tensor([[[0.0, 1.0, 0.0]]])
    found = [attr.DeepLift(model).attribute(x, x0, target=0) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[[0.0, -2.0, 0.0]]]))
    close(found[1], torch.tensor([[[0.0, -3.0, 0.0]]]))


def test_modules_with_hooks() -> None:
    """relu(x) from -1 to 2, under a module with a backward hook of its own: 2."""
    relu = nn.ReLU()
    relu.register_full_backward_hook(lambda *_: None)
    model, x, x0 = Lambda(lambda x: relu(x).sum(1), relu), torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    found = [attr.DeepLift(model).attribute(x, x0) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[3.0]]))
    close(found[1], torch.tensor([[2.0]]))
