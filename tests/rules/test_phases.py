"""Convolutions of few channels with a stride are done by the phases of the stride."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import enodo
from enodo.core.tables import PLAIN
from enodo.rules import RESCALE
from enodo.rules.phases import by_phases
from enodo.testing.models import normal
from tests.rules.nets import settled

WITH: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {  # a kernel, and how it is laid
    "of a ResNet": ((7, 7), {"stride": 2, "padding": 3}),
    "of AlexNet": ((11, 11), {"stride": 4, "padding": 2}),
    "without padding": ((5, 5), {"stride": (2, 2)}),
    "wide": ((4, 9), {"stride": [2], "padding": (0, 4)}),
    "of whole strides": ((6, 9), {"stride": 3, "padding": (2, 1)}),
}


@pytest.mark.parametrize("size", [(20, 23), (19, 16), (12, 25)])
@pytest.mark.parametrize("name", WITH)
def test_by_phases_it_is_the_same(name: str, size: tuple[int, int]) -> None:
    kernel, how = WITH[name]
    x, weight, bias = normal(2, 3, *size).requires_grad_(), normal(5, 3, *kernel), normal(5)
    assert RESCALE.entries["conv2d"].choose(x, weight, bias, **how) is not PLAIN  # type: ignore[union-attr]
    y, by = F.conv2d(x, weight, bias, **how), by_phases(x, weight, bias, **how)
    torch.testing.assert_close(by, y)
    g = normal(*y.shape, seed=1)
    torch.testing.assert_close(torch.autograd.grad(by, x, g), torch.autograd.grad(y, x, g))


ELSE: dict[str, nn.Module] = {
    "one stride": nn.Conv2d(3, 4, 5),
    "two strides": nn.Conv2d(3, 4, 5, stride=(2, 1)),
    "small": nn.Conv2d(3, 4, 3, stride=2),
    "dilated": nn.Conv2d(3, 4, 4, stride=2, dilation=2),
    "in groups": nn.Conv2d(3, 6, 4, stride=2, groups=3),
    "padding by name": nn.Conv2d(3, 4, 5, padding="same"),
    "strided": nn.Conv2d(3, 4, 5, stride=2, padding=2, padding_mode="circular"),
}


@pytest.mark.parametrize("name", ELSE)
def test_other_convolutions_are_left_alone(name: str) -> None:
    model = settled(nn.Sequential(ELSE[name], nn.Tanh(), nn.Flatten()))
    x, background = normal(2, 3, 12, 12), normal(3, 3, 12, 12, seed=1)
    found = enodo.explain(model, x, "deeplift_shap", target=1, baseline=background)
    torch.testing.assert_close(found.tensor.flatten(1).sum(1), found.scores - found.baseline_scores)
    conv: Any = ELSE[name]
    if conv.padding_mode == "zeros":
        how = (conv.stride, conv.padding, conv.dilation, conv.groups)
        assert RESCALE.entries["conv2d"].choose(x, conv.weight, None, *how) is PLAIN  # type: ignore[union-attr]
