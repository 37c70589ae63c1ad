"""Methods that sample: exact where nothing is random, Captum in distribution, governed by torch.manual_seed."""

from __future__ import annotations

from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
from tests.captum.compare import compare
from tests.captum.models import CASES, MLP, Model, Several

SAMPLES = 3000


def cubes(x: Tensor) -> Tensor:
    return (x**3).sum(1)


class Layered(Model):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bend = nn.Linear(2, 2, bias=False), nn.Softplus()
        nn.init.constant_(self.scale.weight, 0.7)

    def forward(self, x: Tensor) -> Tensor:
        return cubes(self.bend(self.scale(x)))


def explainers(attr: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each sampling class with a question; `one` draws a single sample a call."""
    model = Layered()
    background = torch.tensor([[0.0, 0.5], [1.0, -1.0], [0.3, 0.2]])
    drawn = {"n_samples": 1, "baselines": background, "stdevs": 0.2}
    noisy = {"nt_samples": 1, "stdevs": 0.3}
    tunnel = attr.NoiseTunnel
    return {
        "gradient shap": (attr.GradientShap(model), drawn),
        "gradient shap, local": (attr.GradientShap(model, multiply_by_inputs=False), drawn),
        "layer gradient shap": (attr.LayerGradientShap(model, model.bend), drawn),
        "neuron gradient shap": (attr.NeuronGradientShap(model, model.bend), drawn | {"neuron_selector": 1}),
        "smooth saliency": (tunnel(attr.Saliency(model)), noisy | {"abs": False}),
        "smooth input x gradient": (tunnel(attr.InputXGradient(model)), noisy),
        "smooth squares": (tunnel(attr.Saliency(model)), noisy | {"nt_type": "smoothgrad_sq"}),
        "smooth integrated gradients": (tunnel(attr.IntegratedGradients(model)), noisy | {"n_steps": 4}),
        "smooth drawn baselines": (
            tunnel(attr.IntegratedGradients(model)),
            noisy | {"n_steps": 4, "baselines": background, "draw_baseline_from_distrib": True},
        ),
        "smooth conductance": (tunnel(attr.LayerConductance(model, model.bend)), noisy | {"n_steps": 4}),
        "smooth neuron gradient": (tunnel(attr.NeuronGradient(model, model.bend)), noisy | {"neuron_selector": 0}),
    }


def draws(attr: Any, name: str) -> Tensor:
    """Many independent single-sample answers at one input, as the rows of a batch: (SAMPLES, features)."""
    explainer, question = explainers(attr)[name]
    torch.manual_seed(1)
    return explainer.attribute(torch.tensor([[1.0, 2.0]]).repeat(SAMPLES, 1), **question).double()


@pytest.mark.parametrize("name", explainers(ours))
def test_the_distribution_of_a_sample_is_captums(name: str) -> None:
    """Mean and variance of each feature agree within five standard errors."""
    mine, reference = draws(ours, name), draws(theirs, name)
    for a, b in ((mine, reference), ((mine - mine.mean(0)).square(), (reference - reference.mean(0)).square())):
        spread = ((a.var(0) + b.var(0)) / SAMPLES).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * spread + 1e-6).all()


@pytest.mark.parametrize("name", explainers(ours))
def test_manual_seed_governs_the_answer(name: str) -> None:
    explainer, question = explainers(ours)[name]
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    torch.manual_seed(5)
    first = explainer.attribute(x, **question)
    other = explainer.attribute(x, **question)
    torch.manual_seed(5)
    again = explainer.attribute(x, **question)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_methods_that_do_not_sample_leave_the_generator_alone() -> None:
    case = CASES["mlp"]()
    before = torch.get_rng_state()
    ours.IntegratedGradients(case.model).attribute(case.inputs, target=0)
    assert torch.equal(torch.get_rng_state(), before)


def tunnelled() -> dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]]:
    torch.manual_seed(0)
    model = MLP()
    return {
        "Saliency": ("Saliency", (model,), {"target": 1}),
        "Saliency, signed": ("Saliency", (model,), {"target": torch.tensor([0, 1, 2]), "abs": False}),
        "InputXGradient": ("InputXGradient", (model,), {"target": [0, 1, 2]}),
        "IntegratedGradients": (
            "IntegratedGradients",
            (model,),
            {"target": 1, "n_steps": 5, "method": "riemann_left", "baselines": 0.1, "return_convergence_delta": True},
        ),
        "LayerActivation": ("LayerActivation", (model, model.act), {}),
        "LayerConductance": (
            "LayerConductance",
            (model, model.act),
            {"target": 1, "n_steps": 5, "return_convergence_delta": True},
        ),
        "NeuronIntegratedGradients": (
            "NeuronIntegratedGradients",
            (model, model.act),
            {"neuron_selector": 1, "n_steps": 5},
        ),
    }


@pytest.mark.parametrize("name", tunnelled())
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_a_tunnel_without_noise_is_captums_to_the_digit(name: str, nt_type: str) -> None:
    inner, args, question = tunnelled()[name]
    x = torch.linspace(-1, 1, 15).view(3, 5)
    answers = []
    for attr in (ours, theirs):
        tunnel = attr.NoiseTunnel(getattr(attr, inner)(*args))
        answers.append(tunnel.attribute(x, nt_type=nt_type, nt_samples=4, stdevs=0.0, **question))
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-6)


def test_a_tunnel_takes_tuples_and_a_deviation_for_each() -> None:
    torch.manual_seed(0)
    model, inputs = Several(), (torch.randn(2, 3), torch.randn(2, 2))
    tunnel = ours.NoiseTunnel(ours.Saliency(model))
    noisy = tunnel.attribute(inputs, nt_samples=6, stdevs=(0.0, 1.0), target=0, additional_forward_args=(None, 1))
    only_second = tunnel.attribute(inputs, nt_samples=6, stdevs=(0.0, 2.0), target=0, additional_forward_args=(None, 1))
    assert isinstance(noisy, tuple)
    assert [a.shape for a in noisy] == [x.shape for x in inputs]
    assert not torch.equal(noisy[1], only_second[1])


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_pass_of_a_tunnel_has_so_many_samples(samples: int) -> None:
    rows: list[int] = []

    def score(x: Tensor) -> Tensor:
        rows.append(len(x))
        return cubes(x)

    ours.NoiseTunnel(ours.Saliency(score)).attribute(torch.ones(4, 3), nt_samples=7, nt_samples_batch_size=samples)
    assert max(rows) == 4 * samples


def test_a_tunnel_in_passes_of_any_size_has_one_answer() -> None:
    case, answers = CASES["mlp"](), []
    for samples in (None, 1, 2, 7):
        torch.manual_seed(3)
        tunnel = ours.NoiseTunnel(ours.Saliency(case.model))
        answers.append(tunnel.attribute(case.inputs, nt_samples=7, nt_samples_batch_size=samples, target=1))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"nt_type": "smooth"}, "nt_type"),
        ({"nt_samples": 0}, "^nt_samples: "),
        ({"stdevs": -1.0}, "^stdevs: "),
        ({"nt_samples_batch_size": 0}, "^nt_samples_batch_size: "),
        ({"nt_samples_batch_size": "two"}, "^nt_samples_batch_size: "),
        ({"stdevs": (0.1, 0.2)}, "^stdevs: "),
    ],
    ids=str,
)
def test_bad_tunnels_are_refused(question: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ours.NoiseTunnel(ours.Saliency(cubes)).attribute(torch.ones(2, 3), **question)


def test_an_unknown_argument_of_the_inner_method_is_a_type_error() -> None:
    for attr in (ours, theirs):
        with pytest.raises(TypeError, match="n_steps"):
            attr.NoiseTunnel(attr.Saliency(cubes)).attribute(torch.ones(2, 3), n_steps=5)


def test_a_method_that_asks_elsewhere_cannot_be_smoothed() -> None:
    class Mine(ours.Attribution):
        def attribute(self, inputs: Tensor) -> Tensor:
            return inputs

    with pytest.raises(ValueError, match="attribution_method"):
        ours.NoiseTunnel(Mine(cubes)).attribute(torch.ones(2, 3))


def test_a_subclass_that_asks_a_known_method_is_smoothed() -> None:
    class Signed(ours.Saliency):
        def attribute(self, inputs: Tensor) -> Tensor:  # type: ignore[override]
            return super().attribute(inputs, abs=False)

    x = -torch.ones(2, 3)
    torch.testing.assert_close(ours.NoiseTunnel(Signed(lambda x: -x.sum(1))).attribute(x, stdevs=0.1), x)


SHAP = [("GradientShap", ()), ("LayerGradientShap", ("first",)), ("LayerGradientShap", ("act",))]


@pytest.mark.parametrize(("name", "layer"), SHAP)
@pytest.mark.parametrize("baselines", ["row", "call", "call of inputs"])
def test_gradient_shap_of_a_linear_model_is_exact(name: str, layer: tuple[str, ...], baselines: str) -> None:
    """One baseline, no noise, a constant gradient: no sample differs from another."""
    torch.manual_seed(0)
    model = nn.Sequential().eval()
    model.first, model.act, model.last = nn.Linear(5, 4), nn.Identity(), nn.Linear(4, 3)
    x, row = torch.randn(3, 5), torch.randn(1, 5)
    given = {"row": row, "call": lambda: row, "call of inputs": lambda inputs: inputs[:1] * 0}[baselines]
    place = [model.get_submodule(n) for n in layer]
    compare(name, model, *place, inputs=x, baselines=given, target=1)


@pytest.mark.parametrize("name", ["GradientShap", "LayerGradientShap"])
def test_the_delta_of_gradient_shap_is_one_number_a_sample(name: str) -> None:
    """Their mean over a row's samples is how far the row is from the scores at its samples."""
    torch.manual_seed(0)
    model = Layered()
    place = [model.bend] if name == "LayerGradientShap" else []
    x = torch.tensor([[1.0, 2.0], [3.0, 1.0], [1.0, 1.0]])
    shapes = set()
    for attr in (ours, theirs):
        explainer = getattr(attr, name)(model, *place)
        found, delta = explainer.attribute(x, torch.zeros(1, 2), n_samples=4, return_convergence_delta=True)
        shapes.add(delta.shape)
        gap = found.sum(1) - (model(x) - model(torch.zeros(1, 2))).detach()
        torch.testing.assert_close(delta.view(3, 4).mean(1), gap, rtol=1e-4, atol=1e-5)
    assert len(shapes) == 1


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x * torch.arange(1.0, 9.0), 0.5, training=True).sum(1)


@pytest.mark.parametrize("name", ["Saliency", "IntegratedGradients", "FeatureAblation"])
def test_a_model_that_draws_random_numbers_is_governed_by_the_global_generator(name):
    """As in Captum, calls differ, and agree after the same `torch.manual_seed`; the first call too."""
    explainer, x = getattr(ours, name)(Dropping().eval()), torch.ones(2, 8)
    found = []
    with torch.random.fork_rng():
        for seed in (3, None, 3, 4):
            if seed is not None:
                torch.manual_seed(seed)
            found.append(explainer.attribute(x))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[3])
