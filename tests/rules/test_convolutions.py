"""What goes back through convolutions is laid with channels last, and to few channels by blocks: the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.tables import PLAIN, Plain
from enodo.rules import RESCALE
from enodo.rules.convolutions import MANY, convolved
from enodo.testing.models import normal
from tests.rules.nets import settled

Shape = tuple[int, ...]
HOW: dict[str, tuple[Shape, dict[str, Any]]] = {  # weights, and how they are laid
    "of a small net": ((8, 3, 3, 3), {"padding": 1}),
    "of a ResNet": ((8, 3, 7, 7), {"stride": 2, "padding": 3}),
    "of AlexNet": ((8, 3, 11, 11), {"stride": 4, "padding": 2}),
    "without padding": ((4, 1, 5, 5), {"stride": (2, 2)}),
    "wide": ((6, 3, 4, 9), {"stride": [2], "padding": (0, 4)}),
    "of whole strides": ((6, 2, 6, 9), {"stride": 3, "padding": (2, 1)}),
    "with gaps": ((5, 2, 2, 2), {"stride": 3}),
    "padded by more than it reaches": ((5, 3, 3, 3), {"padding": 4}),
    "of one place": ((5, 3, 1, 1), {}),
    "of many channels": ((16, 12, 3, 3), {"padding": 1}),
    "of many channels, strided": ((16, 12, 3, 3), {"stride": 2, "padding": 1}),
    "two strides": ((6, 3, 4, 5), {"stride": (2, 1)}),
    "dilated": ((6, 3, 3, 3), {"stride": 2, "padding": 1, "dilation": (2, 1)}),
    "in groups": ((6, 2, 3, 3), {"stride": 2, "groups": 3}),
    "a channel a group": ((12, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 12}),
}


@pytest.mark.parametrize("size", [(20, 23), (19, 16), (12, 25)])
@pytest.mark.parametrize("name", HOW)
def test_the_gradient_is_the_same(name: str, size: tuple[int, int]) -> None:
    _agree(*HOW[name], size)


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (1, 4), (3, 4)])  # up to 8 places are few for so many weights
@pytest.mark.parametrize("how", [{"padding": 1}, {"padding": (1, 2)}, {"padding": 1, "stride": 2}])
def test_of_few_places_of_many_channels(how: dict[str, Any], size: tuple[int, int]) -> None:
    _agree((256, 128, 3, 3), how, size)


def _agree(shape: Shape, how: dict[str, Any], size: tuple[int, int]) -> None:
    """With torch's, for one gradient and for several at once, however they are laid."""
    x, weight, bias = (
        normal(2, shape[1] * how.get("groups", 1), *size).requires_grad_(),
        normal(*shape),
        normal(shape[0]),
    )
    y, by = F.conv2d(x, weight, bias, **how), convolved(x, weight, bias, **how)
    assert torch.equal(by, y)
    gs = normal(3, *y.shape, seed=1)
    expected = [torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in gs]
    for laid in (gs, gs.movedim(2, -1).contiguous().movedim(-1, 2)):
        found = [torch.autograd.grad(by, x, g, retain_graph=True)[0] for g in laid]
        torch.testing.assert_close(found, expected)
        at_once = torch.func.vmap(lambda g: torch.autograd.grad(by, x, g, retain_graph=True)[0])(laid)
        torch.testing.assert_close(at_once, torch.stack(expected))


def layers(name: str, inplace: bool = False) -> nn.Module:
    """A convolution and a strided one, of the rows that are compared, in float32."""
    (wide, each, *kernel), how = HOW[name]
    conv = nn.Conv2d(each * how.get("groups", 1), wide, tuple(kernel), **{k: _two(v) for k, v in how.items()})
    rest = nn.BatchNorm2d(wide), nn.ReLU(inplace), nn.Conv2d(wide, 6, 3, 2, 1), nn.ReLU(inplace), nn.Flatten()
    return settled(nn.Sequential(conv, *rest)).float()


def _two(value: Any) -> Any:
    return tuple(value) * 2 if isinstance(value, list) else value


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", HOW)
def test_compared_with_a_background(name: str, last: bool) -> None:
    """As row by row in float64, also where a row of the background is one of those explained."""
    shape, how = HOW[name]
    model = layers(name)
    x = normal(2, shape[1] * how.get("groups", 1), 14, 17)
    background = torch.cat([normal(3, *x.shape[1:], seed=1), x[1:]])
    doubled = settled(layers(name).double())
    doubled.load_state_dict(model.state_dict())
    every = [enodo.explain(doubled, x, "deeplift", target=1, baseline=row).tensor for row in background]
    memory = {"memory_format": torch.channels_last if last else torch.contiguous_format}
    given = x.float().contiguous(**memory), background.float().contiguous(**memory)
    found = enodo.explain(model, given[0], "deeplift_shap", target=1, baseline=given[1])
    assert found.rows == len(x) + len(background)
    torch.testing.assert_close(found.tensor.double(), torch.stack(every).mean(0), rtol=1e-4, atol=1e-5)
    assert found.delta.abs().max() < 1e-5 * found.scores.abs().max().clamp(min=1)


def test_targets_in_place_and_several_passes() -> None:
    model = layers("of a ResNet", inplace=True)
    x, background = normal(2, 3, 14, 17).float(), normal(7, 3, 14, 17, seed=1).float()
    found = enodo.explain(model, x, "deeplift_shap", target="all", baseline=background)
    for size in (3, 5):
        again = enodo.explain(model, x, "deeplift_shap", target="all", baseline=background, batch_size=size)
        torch.testing.assert_close(again.tensor, found.tensor, rtol=1e-4, atol=1e-5)
    layer = enodo.explain(model, x, "deeplift_shap", target=1, wrt="2", baseline=background)
    torch.testing.assert_close(
        layer.tensor.flatten(1).sum(1), layer.scores - layer.baseline_scores, rtol=1e-4, atol=1e-5
    )


def treatment(x: Tensor, weight: Tensor, **how: Any) -> Any:
    return RESCALE.entries["conv2d"].choose(x, weight, **how)  # type: ignore[union-attr]


def test_which_are_done_so() -> None:
    x, weight = normal(4, 3, 80, 80).float(), normal(8, 3, 3, 3).float()
    assert x.numel() >= MANY
    assert treatment(x, weight) == Plain(convolved)
    assert treatment(x[:1], weight) == Plain(convolved, alone=False)
    many, weights = x.repeat(1, 4, 1, 1), weight.repeat(1, 4, 1, 1)
    assert treatment(many, weights) == Plain(convolved, alone=False)
    assert treatment(many[:1], weights) is PLAIN
    for other in (x.double(), x[0]):
        assert treatment(other, weight.to(other.dtype)) is PLAIN
    assert treatment(x, weight, padding="same") is PLAIN
    assert treatment(x, weight.clone().requires_grad_()) is not treatment(x, weight)


def test_second_derivatives_pass_through_it() -> None:
    """What goes back is linear in the gradient, and is itself differentiable by it."""
    x, weight = normal(2, 3, 9, 9).requires_grad_(), normal(4, 3, 3, 3)
    y = convolved(x, weight, None, 2, 1)
    g = normal(*y.shape).requires_grad_()
    (gx,) = torch.autograd.grad(y, x, g, create_graph=True)
    torch.testing.assert_close(torch.autograd.grad(gx, g, x.detach())[0], y.detach())
