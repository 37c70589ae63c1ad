"""Neurons, against the installed Captum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import enodo.captum.attr as ours
from tests.captum.compare import compare
from tests.captum.models import CASES, CNN, MLP, Case, Several

NEURONS = [(name, layer) for name in ("mlp", "functional", "scalar", "several") for layer in CASES[name]().layers[:1]]


@pytest.fixture(params=NEURONS, ids=lambda p: f"{p[0]}.{p[1]}")
def case(request: pytest.FixtureRequest) -> Case:
    name, layer = request.param
    case = CASES[name]()
    case.layers = (layer,)
    return case


def at(case: Case) -> tuple[Callable[..., Any], nn.Module]:
    if isinstance(case.model, Several):  # its first layer sees the first input only, which Captum cannot answer
        args = case.args
        case.args, case.inputs, case.baselines = case.inputs[1], case.inputs[0], None
        return lambda x, y: case.model(x, y, *(None, *args[1:])), case.layer(case.layers[0])
    return case.model, case.layer(case.layers[0])


def about(case: Case, **more: Any) -> dict[str, Any]:
    return {"inputs": case.inputs, "neuron_selector": 1, "additional_forward_args": case.args, **more}


@pytest.mark.parametrize("to_input", [False, True])
def test_gradient(case: Case, to_input: bool) -> None:
    place = at(case)
    compare("NeuronGradient", *place, **about(case, attribute_to_neuron_input=to_input))


@pytest.mark.parametrize("to_input", [False, True])
@pytest.mark.parametrize("multiply", [True, False])
def test_integrated_gradients(case: Case, to_input: bool, multiply: bool) -> None:
    place = at(case)
    question = about(case, baselines=case.baselines, attribute_to_neuron_input=to_input, n_steps=20)
    compare("NeuronIntegratedGradients", *place, options={"multiply_by_inputs": multiply}, **question)


@pytest.mark.parametrize("to_input", [False, True])
@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("method", ["gausslegendre", "riemann_left", "riemann_middle"])
def test_conductance(case: Case, to_input: bool, multiply: bool, method: str) -> None:
    place = at(case)
    question = about(
        case, baselines=case.baselines, attribute_to_neuron_input=to_input, target=case.target, method=method
    )
    compare("NeuronConductance", *place, options={"multiply_by_inputs": multiply}, **question)


SINGLE = {"int": 3, "tuple": (2,)}
GROUPS = {
    "slice": (slice(0, 3),),
    "step": (slice(None, None, 2),),
    "product": lambda value: value[:, 1] * value[:, 2],
    "norm": lambda value: value.square().sum(1),
}
MAP_SINGLE = {"place": (1, 0, 1)}
MAP_GROUPS = {
    "channels": (slice(None), 1, 1),
    "box": (0, slice(0, 2), slice(1, 2)),
    "callable": lambda value: value[:, :, 0, 0].sum(1),
}
# The conductance of a group of neurons differs from Captum's on purpose: see the differences.
GRADIENTS = ["NeuronGradient", "NeuronIntegratedGradients"]
VECTOR = [(n, s) for n in GRADIENTS for s in (SINGLE | GROUPS).values()] + [
    ("NeuronConductance", s) for s in SINGLE.values()
]
MAP = [(n, s) for n in GRADIENTS for s in (MAP_SINGLE | MAP_GROUPS).values()] + [("NeuronConductance", (1, 0, 1))]


def conductance_options(name: str) -> dict[str, Any]:
    return {"target": 1, "method": "gausslegendre"} if name == "NeuronConductance" else {}


@pytest.mark.parametrize(("name", "selector"), VECTOR)
def test_selectors_of_a_vector(name: str, selector: Any) -> None:
    case = CASES["mlp"]()
    question = {"inputs": case.inputs, "neuron_selector": selector} | conductance_options(name)
    compare(name, case.model, case.model.act, **question)


@pytest.mark.parametrize(("name", "selector"), MAP)
def test_selectors_of_a_map(name: str, selector: Any) -> None:
    torch.manual_seed(0)
    model = CNN().eval()
    question = {"inputs": torch.randn(2, 2, 8, 8), "neuron_selector": selector} | conductance_options(name)
    compare(name, model, model.conv2, **question)


@pytest.mark.parametrize("selector", [(slice(0, 3),), lambda value: value[:, :3].sum(1)], ids=["slice", "callable"])
def test_the_conductance_of_a_group_is_the_sum_over_its_members(selector: Any) -> None:
    case = CASES["mlp"]()
    explainer = ours.NeuronConductance(case.model, case.model.act)
    group = explainer.attribute(case.inputs, selector, target=1)
    members = [explainer.attribute(case.inputs, i, target=1) for i in range(3)]
    torch.testing.assert_close(group, torch.stack(members).sum(0))


def test_a_selector_of_a_layer_that_returns_a_pair() -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    selector = lambda pair: pair[0][:, 1] * pair[1][:, 2]  # noqa: E731
    compare("NeuronGradient", model, model.pair, inputs=inputs, neuron_selector=selector)


def test_a_selector_of_a_layer_that_returns_one_tensor_in_a_tuple() -> None:
    class Wrapped(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x.tanh(),)

    model = nn.Sequential(nn.Linear(5, 4), wrapped := Wrapped()).eval()
    x = torch.randn(3, 5)
    for selector in (1, lambda value: value[:, 1]):
        compare("NeuronGradient", lambda x: model(x)[0], wrapped, inputs=x, neuron_selector=selector)
    compare("LayerGradientXActivation", lambda x: model(x)[0], wrapped, inputs=x, target=1)
    compare("LayerActivation", lambda x: model(x)[0], wrapped, inputs=x)


def test_an_input_that_the_neuron_does_not_see_gets_zero() -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    x, y = ours.NeuronGradient(model, model.a).attribute(inputs, 1)
    assert torch.equal(x, model.a.weight[1].expand(2, 3))
    assert torch.equal(y, torch.zeros(2, 2))


def test_all_neurons_at_once_are_the_loop_over_neurons() -> None:
    case = CASES["mlp"]()
    every = ours.NeuronGradient(case.model, "act").attribute(case.inputs, "all")
    loop = [ours.NeuronGradient(case.model, "act").attribute(case.inputs, i) for i in range(7)]
    torch.testing.assert_close(every, torch.stack(loop))


@pytest.mark.parametrize("selector", [9, (0, 1), "first", 1.5], ids=str)
def test_a_neuron_that_is_not_there_is_refused(selector: Any) -> None:
    model = MLP()
    with pytest.raises((ValueError, TypeError, IndexError)):
        ours.NeuronGradient(model, model.act).attribute(torch.randn(2, 5), selector)
