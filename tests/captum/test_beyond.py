"""What the door takes beyond Captum: every structure, target and place that `enodo.explain` takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import enodo
import enodo.captum.attr as ours
from tests.captum.models import CASES, MLP, Model, Several


class Named(Model):
    """Keyword arguments in, a mapping out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Several()

    def forward(self, *, x: Tensor, y: Tensor) -> dict[str, Any]:
        return {"logits": self.inner(x, y), "state": (x, y)}


@pytest.fixture
def named() -> tuple[Named, dict[str, Tensor]]:
    torch.manual_seed(0)
    return Named(), {"x": torch.randn(2, 3), "y": torch.randn(2, 2)}


METHODS = {
    "Saliency": {},
    "InputXGradient": {},
    "IntegratedGradients": {"n_steps": 6, "baselines": {"x": 0.5, "y": None}},
    "GradientShap": {"baselines": {"x": torch.zeros(3, 3), "y": torch.zeros(3, 2)}},
}


@pytest.mark.parametrize("name", METHODS)
def test_mappings_in_and_out(named: tuple[Named, dict[str, Tensor]], name: str) -> None:
    model, inputs = named
    question: dict[str, Any] = {"target": 1} | METHODS[name]
    as_tuple = {"baselines": tuple(question["baselines"].values())} if "baselines" in question else {}
    torch.manual_seed(0)
    found = getattr(ours, name)(model).attribute(inputs, **question)
    torch.manual_seed(0)
    plain = getattr(ours, name)(model.inner).attribute(tuple(inputs.values()), **(question | as_tuple))
    assert list(found) == ["x", "y"]
    for a, b in zip(found.values(), plain, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "target",
    ["predicted", lambda y: y[:, 1] - y[:, 0], torch.tensor([True, False, True, False])],
    ids=["name", "function", "mask"],
)
@pytest.mark.parametrize("name", ["Saliency", "IntegratedGradients"])
def test_targets_of_other_kinds(name: str, target: Any) -> None:
    case = CASES["mlp"]()
    found = getattr(ours, name)(case.model).attribute(case.inputs, target=target)
    method = {"Saliency": "gradient", "IntegratedGradients": "integrated_gradients"}[name]
    native = enodo.explain(case.model, case.inputs, method, target=target).tensor
    torch.testing.assert_close(found, native.abs() if name == "Saliency" else native)


def test_several_targets_lead_the_answer_and_its_delta() -> None:
    case = CASES["mlp"]()
    question = {"target": "all", "n_steps": 5, "return_convergence_delta": True}
    found, delta = ours.IntegratedGradients(case.model).attribute(case.inputs, **question)
    assert found.shape == (4, 3, 5)
    assert delta.shape == (4, 3)
    one, gap = ours.IntegratedGradients(case.model).attribute(case.inputs, **(question | {"target": 2}))
    torch.testing.assert_close(found[2], one)
    torch.testing.assert_close(delta[2], gap)


@pytest.mark.parametrize("tunnel", [False, True])
def test_samples_of_several_targets_come_row_by_row(tunnel: bool) -> None:
    model, x = MLP(), torch.randn(3, 5)
    explainer = ours.NoiseTunnel(ours.IntegratedGradients(model)) if tunnel else ours.GradientShap(model)
    options = {"nt_samples": 7} if tunnel else {"n_samples": 7, "baselines": torch.zeros(2, 5)}
    deltas = []
    for target in ("all", 2):
        torch.manual_seed(0)
        deltas.append(explainer.attribute(x, target=target, return_convergence_delta=True, **options)[1])
    assert [d.shape for d in deltas] == [(4, 21), (21,)]
    torch.testing.assert_close(deltas[0][2], deltas[1])


def test_a_part_of_a_layers_value() -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    both = ours.LayerGradientXActivation(model, "pair").attribute(inputs, target=0)
    second = ours.LayerGradientXActivation(model, "pair[1]").attribute(inputs, target=0)
    torch.testing.assert_close(second, both[1])


def test_the_convergence_delta_of_a_mapping(named: tuple[Named, dict[str, Tensor]]) -> None:
    model, inputs = named
    explainer = ours.IntegratedGradients(model)
    found, delta = explainer.attribute(inputs, {"x": 0.5, "y": 0}, target=1, n_steps=5, return_convergence_delta=True)
    torch.testing.assert_close(explainer.compute_convergence_delta(found, {"x": 0.5, "y": 0}, inputs, target=1), delta)
    halves = {name: value / 2 for name, value in inputs.items()}
    gap = explainer.compute_convergence_delta(found, halves, inputs, target=1)
    expected = delta + model(**halves)["logits"][:, 1] - model.inner(torch.full((2, 3), 0.5), torch.zeros(2, 2))[:, 1]
    torch.testing.assert_close(gap, expected.detach())


def test_the_convergence_delta_of_what_was_predicted_at_the_inputs() -> None:
    case = CASES["mlp"]()
    explainer = ours.IntegratedGradients(case.model)
    found, delta = explainer.attribute(case.inputs, case.baselines, "predicted", return_convergence_delta=True)
    again = explainer.compute_convergence_delta(found, case.baselines, case.inputs, "predicted")
    torch.testing.assert_close(again, delta, rtol=1e-4, atol=1e-6)


def test_lists_of_numbers_are_inputs() -> None:
    found = ours.IntegratedGradients(lambda x: x.square().sum(1)).attribute([[1.0, 2.0], [3.0, 4.0]])
    torch.testing.assert_close(found, torch.tensor([[1.0, 4.0], [9.0, 16.0]]))


SCRIPT = """
import enodo.captum; enodo.captum.install()
import torch
import torch.nn as nn
from captum.attr import IntegratedGradients, LayerConductance, NeuronConductance, NoiseTunnel, Summarizer, CommonStats
from captum.attr import configure_interpretable_embedding_layer, remove_interpretable_embedding_layer
import captum.attr

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
input, baseline = torch.rand(2, 3), torch.zeros(2, 3)
ig = IntegratedGradients(model)
attributions, delta = ig.attribute(input, baseline, target=0, return_convergence_delta=True)
assert delta.abs().max() < 0.05 and attributions.shape == input.shape
conductance = LayerConductance(model, model[1]).attribute(input, target=0)
neuron = NeuronConductance(model, model[1]).attribute(input, neuron_selector=1, target=0)
smooth = NoiseTunnel(ig).attribute(input, nt_type="smoothgrad", nt_samples=4, target=0)
summarizer = Summarizer(CommonStats())
summarizer.update(attributions)
print(captum.__name__, tuple(conductance.shape), tuple(neuron.shape), tuple(smooth.shape), len(summarizer.summary))
"""


def test_a_script_written_for_captum_runs_here() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "enodo.captum (2, 4) (2, 3) (2, 3) 5"
