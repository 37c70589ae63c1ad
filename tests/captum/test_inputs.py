"""Methods at the inputs, against the installed Captum: models, targets, baselines, quadratures, options."""

from __future__ import annotations

from itertools import product
from typing import Any

import captum.attr as theirs
import pytest
import torch

import enodo.captum.attr as ours
from tests.captum.compare import both, compare, same
from tests.captum.models import CASES, MLP, Case, Dense, Several

QUADRATURES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def about(case: Case, baselines: bool = True) -> dict[str, Any]:
    question = {"inputs": case.inputs, "target": case.target, "additional_forward_args": case.args}
    return question | ({"baselines": case.baselines} if baselines else {})


@pytest.mark.parametrize("absolute", [True, False])
def test_saliency(case: Case, absolute: bool) -> None:
    compare("Saliency", case.model, abs=absolute, **about(case, baselines=False))


def test_input_x_gradient(case: Case) -> None:
    compare("InputXGradient", case.model, **about(case, baselines=False))


@pytest.mark.parametrize(("method", "steps"), [("gausslegendre", 1), *product(QUADRATURES, (2, 17))])
def test_integrated_gradients_of_every_quadrature(case: Case, method: str, steps: int) -> None:
    compare("IntegratedGradients", case.model, method=method, n_steps=steps, **about(case))


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("rows", [None, 1, 3, 100])
def test_integrated_gradients_in_passes_of_any_size(case: Case, multiply: bool, rows: int | None) -> None:
    options = {"multiply_by_inputs": multiply}
    compare("IntegratedGradients", case.model, options=options, internal_batch_size=rows, **about(case))


def test_integrated_gradients_with_their_delta(case: Case) -> None:
    question = about(case) | {"return_convergence_delta": True, "n_steps": 8}
    compare("IntegratedGradients", case.model, **question)


@pytest.mark.parametrize(
    "target",
    [0, -1, (2,), torch.tensor(3), torch.tensor([3]), torch.tensor([0, 1, 3]), [2, 0, 1], [(2,), (0,), (1,)]],
    ids=str,
)
@pytest.mark.parametrize("name", ["Saliency", "IntegratedGradients"])
def test_targets_of_class_scores(name: str, target: object) -> None:
    case = CASES["mlp"]()
    compare(name, case.model, inputs=case.inputs, target=target)


@pytest.mark.parametrize("target", [(0, 1, 2), [(0, 1, 2), (2, 3, 3)]], ids=str)
def test_targets_of_dense_scores(target: object) -> None:
    compare("IntegratedGradients", Dense(), inputs=torch.randn(2, 2, 4, 4), target=target)


@pytest.mark.parametrize(
    "baselines",
    [None, 0, 0.5, torch.randn(3, 5), torch.randn(1, 5), (0.5,), (torch.zeros(1, 5),)],
    ids=["none", "zero", "number", "full", "row", "tuple", "row in a tuple"],
)
@pytest.mark.parametrize("in_tuple", [False, True])
def test_baselines_of_one_input(baselines: Any, in_tuple: bool) -> None:
    x = torch.randn(3, 5)
    inputs = (x,) if in_tuple else x
    compare("IntegratedGradients", MLP(), inputs=inputs, baselines=baselines, target=1, return_convergence_delta=True)


@pytest.mark.parametrize(
    "baselines",
    [None, (0, 0.5), (torch.randn(2, 3), 1), (torch.randn(1, 3), torch.randn(2, 2))],
    ids=["none", "numbers", "mixed", "tensors"],
)
def test_baselines_of_two_inputs(baselines: Any) -> None:
    inputs = (torch.randn(2, 3), torch.randn(2, 2))
    compare("IntegratedGradients", Several(), inputs=inputs, baselines=baselines, target=1)


@pytest.mark.parametrize(
    "args", [None, torch.randn(2), (torch.randn(2), 3), (None, 2, "times")], ids=["none", "rows", "two", "three"]
)
@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "IntegratedGradients"])
def test_additional_forward_args(name: str, args: Any) -> None:
    inputs = (torch.randn(2, 3), torch.randn(2, 2))
    compare(name, Several(), inputs=inputs, additional_forward_args=args, target=1)


def test_a_plain_function_is_explained() -> None:
    compare("IntegratedGradients", lambda x: (x**3).sum(1), inputs=torch.randn(4, 3), baselines=0.1)


def test_create_graph_gives_an_answer_that_can_be_differentiated() -> None:
    case = CASES["mlp"]()
    x = case.inputs.requires_grad_()
    question = {"inputs": x, "target": 1, "grad_kwargs": {"create_graph": True}}
    found = both("LayerIntegratedGradients", (case.model, case.model.first), **question)
    mine, reference = (torch.autograd.grad(a.square().sum(), case.model.second.weight)[0] for a in found)
    torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


def test_the_convergence_delta_of_any_attribution(case: Case) -> None:
    inputs = case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)
    start = tuple(torch.randn_like(x) for x in inputs)
    attributions = tuple(torch.randn(len(x), 4) for x in inputs)
    deltas = []
    for attr in (ours, theirs):
        explainer = attr.InputXGradient(case.model)
        deltas.append(explainer.compute_convergence_delta(attributions, start, inputs, case.target, case.args))
        if len(inputs) == 1:
            deltas.append(explainer.compute_convergence_delta(attributions[0], 0.5, inputs[0], case.target, case.args))
    half = len(deltas) // 2
    same(deltas[:half], deltas[half:])


def test_attributions_of_other_rows_have_no_delta() -> None:
    with pytest.raises(ValueError, match=r"attributions: .* one entry for each of the 2 rows"):
        ours.InputXGradient(lambda x: x.sum(1)).compute_convergence_delta(torch.ones(6, 3), 0, torch.ones(2, 3))


def test_the_state_of_the_model_is_untouched(case: Case) -> None:
    before = {k: v.clone() for k, v in case.model.state_dict().items()}
    inputs = case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)
    kept = tuple(x.clone() for x in inputs)
    both("IntegratedGradients", (case.model,), **about(case))
    assert all(torch.equal(v, before[k]) for k, v in case.model.state_dict().items())
    assert all(torch.equal(a, b) and a.grad is None and not a.requires_grad for a, b in zip(inputs, kept, strict=True))


def test_methods_of_a_users_own_have_the_gradient(case: Case) -> None:
    found = []
    for attr in (ours, theirs):
        own = attr.GradientAttribution(case.model)
        inputs = [
            x.clone().requires_grad_() for x in (case.inputs if isinstance(case.inputs, tuple) else [case.inputs])
        ]
        found.append(own.gradient_func(own.forward_func, tuple(inputs), case.target, case.args))
    same(*found)
