"""Methods at layers, against the installed Captum."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from torch import nn

import enodo.captum.attr as ours
from tests.captum.compare import both, close, compare, same
from tests.captum.models import CASES, MLP, Case, Model, Several, Text

# Captum cannot replace the value of a layer that in-place code follows: see the differences.
IN_PLACE = ("cnn", "conv1")
LAYERS = [(name, layer) for name, build in CASES.items() for layer in build().layers]
PATHS = ["LayerIntegratedGradients", "LayerConductance", "InternalInfluence"]


@pytest.fixture(params=LAYERS, ids=lambda p: f"{p[0]}.{p[1]}")
def case(request: pytest.FixtureRequest) -> Case:
    name, layer = request.param
    case = CASES[name]()
    case.layers = (layer,)
    if (name, layer) == IN_PLACE and "LayerIntegratedGradients" in request.node.name:
        case.model.relu.inplace = False
    return case


def at(case: Case) -> tuple[nn.Module, nn.Module]:
    return case.model, case.layer(case.layers[0])


def about(case: Case, **more: Any) -> dict[str, Any]:
    return {"inputs": case.inputs, "target": case.target, "additional_forward_args": case.args, **more}


@pytest.mark.parametrize("to_input", [False, True])
def test_activation(case: Case, to_input: bool) -> None:
    question = about(case, attribute_to_layer_input=to_input)
    del question["target"]
    compare("LayerActivation", *at(case), **question)


@pytest.mark.parametrize("to_input", [False, True])
@pytest.mark.parametrize("options", [{}, {"multiply_by_inputs": False}, {"memory_efficient": True}], ids=str)
def test_gradient_x_activation(case: Case, to_input: bool, options: dict[str, Any]) -> None:
    compare("LayerGradientXActivation", *at(case), options=options, **about(case, attribute_to_layer_input=to_input))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("to_input", [False, True])
@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle", "riemann_right"])
def test_path_methods(case: Case, name: str, to_input: bool, method: str) -> None:
    question = about(case, baselines=case.baselines, attribute_to_layer_input=to_input, method=method, n_steps=12)
    compare(name, *at(case), **question)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("rows", [1, 5])
def test_path_methods_in_passes_of_any_size(case: Case, name: str, rows: int) -> None:
    compare(name, *at(case), **about(case, baselines=case.baselines, internal_batch_size=rows, n_steps=10))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_interpolate(mode: str) -> None:
    small = torch.randn(2, 1, 3, 4)
    reference = captum.attr.LayerAttribution.interpolate(small, (7, 9), mode)
    close(ours.LayerAttribution.interpolate(small, (7, 9), mode), reference)


@pytest.mark.parametrize("name", ["LayerIntegratedGradients", "LayerConductance"])
def test_deltas(case: Case, name: str) -> None:
    compare(name, *at(case), **about(case, baselines=case.baselines, return_convergence_delta=True, n_steps=20))


def test_LayerIntegratedGradients_without_the_product(case: Case) -> None:
    options = {"multiply_by_inputs": False}
    compare("LayerIntegratedGradients", *at(case), options=options, **about(case, baselines=case.baselines))


@pytest.mark.parametrize("to_input", [False, True])
@pytest.mark.parametrize("name", ["LayerActivation", "LayerGradientXActivation", *PATHS])
def test_a_layer_that_holds_a_pair(name: str, to_input: bool) -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    target = {} if name == "LayerActivation" else {"target": 1}
    compare(name, model, model.pair, inputs=inputs, attribute_to_layer_input=to_input, **target)


@pytest.mark.parametrize("name", ["LayerActivation", "LayerGradientXActivation"])
def test_a_list_of_layers_is_a_list_of_answers(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    target = {} if name == "LayerActivation" else {"target": 1}
    for layers in ([model.a, model.out], [model.a, model.pair], [model.b]):
        compare(name, model, layers, inputs=inputs, **target)


def test_a_list_of_parallel_layers_shares_the_path_of_integrated_gradients() -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    question = {"inputs": inputs, "target": 1, "return_convergence_delta": True}
    compare("LayerIntegratedGradients", model, [model.a, model.b], **question)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("baseline", [None, 0, "pad"])
def test_integrated_gradients_of_token_ids_at_the_embedding(recurrent: bool, baseline: object) -> None:
    torch.manual_seed(0)
    model, ids = Text(recurrent).eval(), torch.tensor([[3, 4, 5, 1], [7, 2, 0, 0]])
    baselines = torch.zeros_like(ids) if baseline == "pad" else baseline
    mask = (ids > 0).long()
    question = {"inputs": ids, "baselines": baselines, "target": [0, 1], "additional_forward_args": mask}
    compare("LayerIntegratedGradients", model, model.embedding, return_convergence_delta=True, **question)


def test_token_ids_need_no_layer_here() -> None:
    torch.manual_seed(0)
    model, ids = Text(True).eval(), torch.tensor([[3, 4, 5, 1], [7, 2, 0, 0]])
    at_layer = ours.LayerIntegratedGradients(model, model.embedding).attribute(ids, torch.zeros_like(ids), target=1)
    direct = ours.IntegratedGradients(model).attribute(ids, torch.zeros_like(ids), target=1)
    torch.testing.assert_close(direct, at_layer.sum(-1))


@pytest.mark.parametrize("name", ["LayerGradientXActivation", "LayerConductance"])
def test_a_function_around_the_model_keeps_its_layers(name: str) -> None:
    torch.manual_seed(0)
    model = MLP()
    compare(name, lambda x, k: model(x) * k, model.act, inputs=torch.randn(3, 5), target=0, additional_forward_args=3.0)


@pytest.mark.parametrize("name", ["LayerGradientXActivation", "LayerIntegratedGradients"])
def test_a_layer_that_runs_without_being_registered(name: str) -> None:
    class Holding(Model):
        def __init__(self) -> None:
            super().__init__()
            self.held = [nn.Linear(5, 4)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.held[0](x).tanh()

    model = Holding()
    compare(name, model, model.held[0], inputs=torch.randn(3, 5), target=1)


def test_layers_go_by_name_here() -> None:
    case = CASES["cnn"]()
    by_module = ours.LayerConductance(case.model, case.model.conv1).attribute(case.inputs, target=case.target)
    by_name = ours.LayerConductance(case.model, "conv1").attribute(case.inputs, target=case.target)
    assert torch.equal(by_module, by_name)
    to_input = ours.LayerActivation(case.model, "fc").attribute(case.inputs, attribute_to_layer_input=True)
    assert torch.equal(to_input, ours.LayerActivation(case.model, "fc:in").attribute(case.inputs))


def test_a_layer_that_does_not_run_is_refused() -> None:
    for layer in (nn.Linear(3, 3), "frist"):
        with pytest.raises(ValueError, match="layer"):
            ours.LayerActivation(MLP(), layer).attribute(torch.randn(2, 5))


def test_an_unknown_grad_option_is_refused() -> None:
    model = MLP()
    with pytest.raises(ValueError, match="grad_kwargs"):
        ours.LayerConductance(model, model.act).attribute(torch.randn(2, 5), target=0, grad_kwargs={"grad_outputs": 1})


def test_known_grad_options_change_no_value() -> None:
    model, x = MLP(), torch.randn(2, 5)
    plain = ours.LayerConductance(model, model.act).attribute(x, target=0)
    question = {"inputs": x, "target": 0, "grad_kwargs": {"allow_unused": True, "materialize_grads": True}}
    mine, reference = both("LayerConductance", (model, model.act), **question)
    same(mine, reference)
    assert torch.equal(mine, plain)
