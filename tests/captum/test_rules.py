"""DeepLIFT, guided backpropagation, deconvolution and Grad-CAM: Captum's numbers on what Captum has rules for."""

from __future__ import annotations

from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
from enodo.testing.models import normal
from tests.captum.compare import compare, same

ACTIVATIONS = [nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus]


def mlp(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(5, 7), activation(), nn.Linear(7, 6), activation(), nn.Linear(6, 3)
    return nn.Sequential(*layers).eval()


def cnn() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)).eval()


def rows(seed: int = 0) -> Tensor:
    return normal(4, 5, seed=seed).float()


def images(seed: int = 0) -> Tensor:
    return normal(3, 2, 8, 8, seed=seed).float()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("multiply", [True, False])
def test_deep_lift(activation: type[nn.Module], multiply: bool) -> None:
    options = {"multiply_by_inputs": multiply}
    compare("DeepLift", mlp(activation), inputs=rows(), baselines=rows(1), target=1, options=options)


def test_deep_lift_of_images_with_its_delta() -> None:
    compare("DeepLift", cnn(), inputs=images(), target=[0, 2, 1], return_convergence_delta=True)
    compare("DeepLift", cnn(), inputs=(images(),), baselines=(0.3,), target=1)


@pytest.mark.parametrize("bias", [False, True])
def test_deep_lift_through_max_pools(bias: bool) -> None:
    """Without biases from zero; with them where no ReLU makes several entries the largest (Captum picks any then)."""
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3, bias=bias), nn.Identity() if bias else nn.ReLU(), nn.MaxPool2d(2)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 3)).eval()
    compare("DeepLift", model, inputs=images(), baselines=images(1) if bias else 0, target=1)


@pytest.mark.parametrize("custom", [
    lambda m: m,
    lambda m, x: tuple(a * b for a, b in zip(m, x, strict=True)),
    lambda m, x, x0: tuple(a * (b - 2 * c) for a, b, c in zip(m, x, x0, strict=True)),
])  # fmt: skip
def test_custom_attribution_functions(custom: Any) -> None:
    question: dict[str, Any] = {"baselines": rows(1), "target": 1, "custom_attribution_func": custom}
    compare("DeepLift", mlp(), inputs=rows(), **question)
    model = mlp()
    compare("LayerDeepLift", model, model[2], inputs=rows(), **question)


@pytest.mark.parametrize("to_input", [False, True])
def test_layer_deep_lift(to_input: bool) -> None:
    model = cnn()
    question: dict[str, Any] = {"baselines": images(1), "target": 1, "attribute_to_layer_input": to_input}
    compare("LayerDeepLift", model, model[4], inputs=images(), return_convergence_delta=True, **question)


@pytest.mark.parametrize("name", ["NeuronDeepLift", "NeuronGuidedBackprop", "NeuronDeconvolution"])
@pytest.mark.parametrize("selector", [(1, 1, 0), (slice(0, 2), 1, 0)])
def test_neurons(name: str, selector: tuple[Any, ...]) -> None:
    model = cnn()
    compare(name, model, model[4], inputs=images(), neuron_selector=selector)


@pytest.mark.parametrize("name", ["GuidedBackprop", "Deconvolution"])
def test_rectified_gradients(name: str) -> None:
    compare(name, cnn(), inputs=images(), target=1)
    compare(name, cnn(), inputs=(images(),), target=[0, 1, 2])


@pytest.mark.parametrize("question", [
    {}, {"relu_attributions": True}, {"attr_dim_summation": False}, {"attribute_to_layer_input": True},
])  # fmt: skip
@pytest.mark.parametrize("layer", [0, 4, 7])
def test_layer_grad_cam(question: dict[str, Any], layer: int) -> None:
    model = cnn()
    compare("LayerGradCam", model, model[layer], inputs=images(), target=1, **question)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_guided_grad_cam(mode: str) -> None:
    model = cnn()
    compare("GuidedGradCam", model, model[4], inputs=images(), target=1, interpolate_mode=mode)


def test_a_noise_tunnel_around_deep_lift_without_noise() -> None:
    tunnels = [lib.NoiseTunnel(lib.DeepLift(mlp())) for lib in (ours, theirs)]
    mine, reference = (t.attribute(rows(), nt_samples=2, stdevs=0.0, target=1) for t in tunnels)
    same(mine, reference.detach())


def test_deep_lift_shap() -> None:
    model, background = cnn(), normal(5, 2, 8, 8, seed=2).float()
    question: dict[str, Any] = {"baselines": background, "target": [0, 2, 1]}
    compare("DeepLiftShap", model, inputs=images(), return_convergence_delta=True, **question)
    compare("LayerDeepLiftShap", model, model[4], inputs=images(), return_convergence_delta=True, **question)
    compare("NeuronDeepLiftShap", model, model[4], inputs=images(), baselines=background, neuron_selector=(1, 1, 0))
    compare("DeepLiftShap", model, inputs=images(), baselines=lambda: background, target=1)
