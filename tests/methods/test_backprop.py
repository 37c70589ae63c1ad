"""Guided backpropagation and deconvolution against the pictures of their papers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing.models import normal, seeded

RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: (F.relu(x, inplace=True), x)[1],
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp by position": lambda x: torch.clamp(x, 0),
    "clamp_min_": lambda x: x.clamp_min_(0.0),
    "threshold": lambda x: F.threshold(x, 0, 0),
}
SIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU6(),
    "module in place": nn.ReLU6(inplace=True),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "F.relu6": F.relu6,
    "F.hardtanh by position": lambda x: F.hardtanh(x, 0.0, 6.0),
    "F.hardtanh_": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "clamp": lambda x: x.clamp(0, 6),
    "clip_": lambda x: x.clip_(max=6, min=0),
}


@pytest.mark.parametrize(
    ("method", "expected"),
    [("guided_backprop", [[0.0, 0.0, 3.0, 0.0]]), ("deconvolution", [[2.0, 0.0, 3.0, 0.0]])],
)
@pytest.mark.parametrize("name", RELUS)
def test_figure_1_of_guided_backprop(method: str, expected: list[list[float]], name: str) -> None:
    """Weights 2, -2, 3, -3 above ReLUs of which the last two are on: two signs of gradient, on and off."""
    x, weights = torch.tensor([[-1.0, -1.0, 1.0, 1.0]]), torch.tensor([2.0, -2.0, 3.0, -3.0])
    found = enodo.explain(lambda x: (RELUS[name](x) * weights).sum(1), x, method)
    assert found.tensor.tolist() == expected


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
@pytest.mark.parametrize("name", RELUS)
def test_every_spelling_is_the_same_network(method: str, name: str) -> None:
    first, second = seeded(nn.Linear(5, 6)), seeded(nn.Linear(6, 3))
    models = [lambda x, act=act: second(act(first(x)).tanh()) for act in (RELUS[name], F.relu)]
    one, other = (enodo.explain(model, normal(4, 5), method, target=1).tensor for model in models)
    assert torch.equal(one, other)
    assert not torch.allclose(one, enodo.explain(models[0], normal(4, 5), "gradient", target=1).tensor)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("guided_backprop", [[0.0, 3.0, 0.0, 0.0]]), ("deconvolution", [[2.0, 3.0, 0.0, 5.0]])],
)
@pytest.mark.parametrize("name", SIXES)
def test_relus_with_an_upper_limit(method: str, expected: list[list[float]], name: str) -> None:
    """Off, on under a positive and under a negative gradient, and beyond 6, where its own gradient is zero."""
    x, weights = torch.tensor([[-1.0, 1.0, 1.0, 7.0]]), torch.tensor([2.0, 3.0, -3.0, 5.0])
    found = enodo.explain(lambda x: (SIXES[name](x) * weights).sum(1), x, method)
    assert found.tensor.tolist() == expected


def test_other_clamps_are_no_relus() -> None:
    def model(x: Tensor) -> Tensor:
        limits = torch.arange(5.0, dtype=x.dtype)  # of each entry: no one number
        cut = x.clamp(-1, 1) + x.clamp(max=0) + x.clamp(min=0.1) + F.hardtanh(x) + x.clamp(0 * limits, limits)
        return -cut.sum(1)

    x = normal(4, 5)
    for method in ("guided_backprop", "deconvolution"):
        assert torch.equal(enodo.explain(model, x, method).tensor, enodo.explain(model, x, "gradient").tensor)


def test_rules_may_be_added() -> None:
    guided = {F.gelu: lambda op: lambda gy: [gy.clamp(min=0)]}
    x = normal(4, 5)
    found = enodo.explain(
        lambda x: (F.gelu(x) * torch.tensor([1.0, -1, 1, -1, 1])).sum(1), x, "guided_backprop", rules=guided
    )
    assert torch.equal(found.tensor, torch.tensor([1.0, 0, 1, 0, 1], dtype=x.dtype).expand(4, 5))


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_hooks_on_the_modules_say_the_same(method: str) -> None:
    """Each ReLU6 a module of its own, with a hook that does what the papers say to the gradient of its input."""
    layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 4, 3), nn.ReLU6())
    model, x = seeded(nn.Sequential(layers, nn.Flatten(), nn.Linear(64, 3))), 5 * normal(2, 3, 8, 8)
    found = enodo.explain(model, x, method, target=1).tensor

    def hook(module: nn.Module, inner: tuple[Tensor, ...], outer: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return ((inner if method == "guided_backprop" else outer)[0].clamp(min=0),)

    for m in layers[2::2]:
        m.register_full_backward_hook(hook)
    x = x.requires_grad_()
    torch.testing.assert_close(found, torch.autograd.grad(model(x)[:, 1].sum(), x)[0])
