"""Batch norms in relevance propagation: as if the model had been written with them merged into its layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import enodo
from enodo.rules import lrp as rules
from enodo.testing.models import normal
from tests.rules.nets import settled

NAMES = ["zero", "epsilon", "gamma", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat", "deep_taylor",
         "epsilon_gamma_box", "alpha1_beta0"]  # fmt: skip


def lrp(model: Any, x: Tensor, **options: Any) -> Tensor:
    return enodo.explain(model, x, "lrp", target=1, **options).tensor


def after() -> tuple[nn.Module, nn.Module]:
    """Norms after layers of every kind, and the same merged."""
    kinds: list[tuple[nn.Module, nn.Module]] = [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)),
        (nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, bias=False), nn.BatchNorm2d(4)),
        (nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3, affine=False)),
    ]
    dense: list[nn.Module] = [nn.Linear(12, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)]
    body = [part for layer, norm in kinds for part in (layer, norm, nn.ReLU(inplace=True))]
    model = settled(nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *dense))
    other = copy.deepcopy(model).requires_grad_(False)
    for i in (0, 3, 6):
        conv, norm = other[i], other[i + 1]
        if isinstance(conv, nn.ConvTranspose2d):
            other[i], other[i + 1] = _fused_by_hand(conv, norm), nn.Identity()
        else:
            other[i], other[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    other[11], other[12] = fuse_linear_bn_eval(other[11], other[12]), nn.Identity()
    return model, other.eval()


@torch.no_grad()
def _fused_by_hand(conv: Any, norm: Any) -> nn.Module:
    """Of a transposed convolution in groups: output channel o of group g has the number g * (channels a group) + o."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    found = nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2).double()
    for i in range(6):
        for o in range(2):
            found.weight.data[i, o] = conv.weight.data[i, o] * scale[(i // 3) * 2 + o]
    found.bias.data = norm.bias - norm.running_mean * scale
    return found


@pytest.mark.parametrize("composite", NAMES)
def test_norms_after_layers(composite: str) -> None:
    model, merged = after()
    x = normal(3, 4, 5, 5)
    torch.testing.assert_close(model(x), merged(x))
    before = copy.deepcopy(model.state_dict())
    ours, true = (lrp(m, x, composite=composite, box=(-4, 4)) for m in (model, merged))
    torch.testing.assert_close(ours, true, atol=1e-10, rtol=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


class Padded(nn.Module):
    """A norm before a convolution, as one convolution: where that pads, its bias is another one."""

    def __init__(self, norm: Any, conv: Any) -> None:
        super().__init__()
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        self.conv = copy.deepcopy(conv)
        self.conv.weight.data = conv.weight * scale.reshape(2, 1, 2, 1, 1).expand(2, 3, 2, 1, 1).reshape(6, 2, 1, 1)
        self.conv.bias = None
        self.bias = conv(shift.reshape(1, -1, 1, 1).expand(1, 4, 5, 5)).detach()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4, 5, 5) -> (B, 6, 5, 5)."""
        return self.conv(x) + self.bias


@pytest.mark.parametrize("composite", ["zero", "epsilon", "epsilon_plus_flat", "deep_taylor", "epsilon_gamma_box"])
def test_norms_before_layers(composite: str) -> None:
    """Rules that take the bias for what it is have it in an addition of its own."""
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    model = settled(nn.Sequential(nn.BatchNorm2d(4), conv, nn.ReLU(), nn.Flatten(), nn.Linear(150, 3)))
    merged = nn.Sequential(Padded(model[0], model[1]), *model[2:])
    x = normal(2, 4, 5, 5)
    torch.testing.assert_close(model(x), merged(x))
    options = {"composite": composite, "box": (-4, 4), "epsilon": 1e-12}
    ours = lrp(model, x, **options)
    if composite in ("zero", "epsilon"):
        torch.testing.assert_close(ours, lrp(merged, x, **options), atol=1e-9, rtol=1e-9)
    else:  # whose first layer gets the relevance of the sum with its bias
        y = (model[1](model[0](x))).detach()
        c = enodo.explain(model, x, "lrp", target=1, wrt="1", **options).tensor / y
        expected = enodo.explain(
            lambda x: (merged[0].conv(x) * y / merged[0].conv(x).detach() * c).sum((1, 2, 3)), x, "lrp", **options
        )
        torch.testing.assert_close(ours, expected.tensor, atol=1e-9, rtol=1e-8)


def _forms(norm: Any) -> dict[str, Callable[[Tensor], Tensor]]:
    mean, var, scale, shift = norm.running_mean, norm.running_var, norm.weight, norm.bias
    return {
        "module": norm,
        "F.batch_norm": lambda y: F.batch_norm(y, mean, var, scale, shift, eps=norm.eps),
        "torch.batch_norm": lambda y: torch.batch_norm(y, scale, shift, mean, var, False, 0.1, norm.eps, False),
        "after dropout": lambda y: norm(F.dropout(y, training=False)),
    }


@pytest.mark.parametrize("name", _forms(nn.BatchNorm2d(1)))
def test_in_every_spelling(name: str) -> None:
    conv, norm = settled(nn.Conv2d(2, 3, 2)), settled(nn.BatchNorm2d(3))
    x, merged = normal(2, 2, 3, 3), fuse_conv_bn_eval(conv, norm)

    def model(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: layer(x).relu().flatten(1)

    ours = lrp(model(lambda x: _forms(norm)[name](conv(x))), x, composite="gamma")
    torch.testing.assert_close(ours, lrp(model(merged), x, composite="gamma"))


def test_a_value_that_is_used_elsewhere_too() -> None:
    """The norm's way is that of the merged layer, the other one that of the layer itself."""
    conv, norm = settled(nn.Conv2d(2, 3, 2)), settled(nn.BatchNorm2d(3))
    x, merged = normal(2, 2, 3, 3), fuse_conv_bn_eval(conv, norm)

    def model(x: Tensor) -> Tensor:
        y = conv(x)
        return (norm(y).relu() + y).flatten(1)

    expected = lrp(lambda x: (merged(x).relu() + conv(x)).flatten(1), x, composite="epsilon_plus")
    torch.testing.assert_close(lrp(model, x, composite="epsilon_plus"), expected)


@pytest.mark.parametrize("late", [False, True])
def test_values_that_code_in_place_changes(late: bool) -> None:
    """What a rule reads is what the layer read; a value that was changed on the way is merged with nothing."""
    layer, norm = settled(nn.Linear(3, 4)), settled(nn.BatchNorm1d(4))
    x = normal(2, 3)

    def of(relu: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def model(x: Tensor) -> Tensor:
            h = x * 1
            y = layer(h)
            if late:
                return norm(y) + relu(h).sum(1, keepdim=True)  # the first operand is done first
            y = relu(y)
            return norm(y) + h.sum(1, keepdim=True)

        return model

    def overwritten(x: Tensor) -> Tensor:
        h = x * 1
        y = layer(h)
        kept = h.relu_().sum(1, keepdim=True)
        return norm(y) + kept

    ours, true = (lrp(of(relu), x, composite="gamma") for relu in (torch.relu_, torch.relu))
    torch.testing.assert_close(ours, true)
    if late:  # the layer's operand is overwritten before the norm comes: each stands for itself
        apart = lrp(of(torch.relu), x, rules={layer: rules.gamma(), norm: lambda op: op.vjp})
        torch.testing.assert_close(lrp(overwritten, x, composite="gamma"), apart)
        assert not torch.allclose(apart, true)


def test_the_layer_itself_can_be_asked_about() -> None:
    """At the value between the two, the norm is an operation like others; after it, the two are one."""
    model, merged = after()
    x = normal(2, 4, 5, 5)
    between = enodo.explain(model, x, "lrp", target=1, wrt="3", composite="gamma")
    behind = enodo.explain(model, x, "lrp", target=1, wrt="4", composite="gamma")
    torch.testing.assert_close(behind.tensor, lrp(merged, x, wrt="3", composite="gamma"))
    scale = model[4].weight / torch.sqrt(model[4].running_var + model[4].eps)
    values = enodo.explain(model, x, "activation", wrt=["3", "4"]).values
    torch.testing.assert_close(between.tensor, behind.tensor / values[1] * values[0] * scale.detach().reshape(-1, 1, 1))


@pytest.mark.parametrize("composite", ["gamma", "epsilon_plus_flat"])
def test_derivatives_of_merged_rules(composite: str) -> None:
    model, merged = after()
    x, way = normal(2, 4, 5, 5), normal(2, 4, 5, 5, seed=3)

    def slope(model: nn.Module) -> Tensor:
        at = x.clone().requires_grad_()
        found = enodo.explain(model, at, "lrp", target=1, composite=composite, create_graph=True).tensor
        return torch.autograd.grad((found * way).sum(), at)[0]

    torch.testing.assert_close(slope(model), slope(merged), rtol=1e-6, atol=1e-9)
