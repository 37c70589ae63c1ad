"""Convolutions of few channels with a stride, as dense ones of many: torch takes the gradient of those much faster.

With stride s, y_i = sum_j w_j x_{si + j}; for j = sm + r that is sum_r sum_m w_{sm + r} x_{s(i + m) + r}: one
convolution with stride 1 of the s phases of x, x_{sn + r}, each a channel. On a CPU torch works through channels by the
sixteen, of which a picture fills three: the gradient of the first layer of a ResNet takes 0.7 ms a row this way instead
of 1.5.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import PLAIN, Depends, Plain, Treatment

FEW = 4  # channels


def pair(value: Any) -> tuple[Any, Any]:
    """What an argument of a convolution says of height and width."""
    return (value, value) if isinstance(value, int) else (*value, *value)[:2]


def by_phases(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, *_: Any, **__: Any
) -> Tensor:
    """F.conv2d with the same stride s > 1 both ways, without dilation or groups."""
    s, pads, wide = pair(stride)[0], [], []
    for size, kernel, before in zip(input.shape[:1:-1], weight.shape[:1:-1], pair(padding)[::-1], strict=True):
        more = -kernel % s
        places = (size + 2 * before - kernel) // s + 1
        pads += [before, (places - 1) * s + kernel + more - size - before]
        wide += [0, more]
    return F.conv2d(F.pixel_unshuffle(F.pad(input, pads), s), F.pixel_unshuffle(F.pad(weight, wide), s), bias)


_PHASED = Plain(by_phases)


def phased(usual: Depends) -> Depends:
    """What `usual` says of an F.conv2d, done by phases where that is linear and faster.

    A kernel of less than two strides loses in the forward passes what the gradient gains.
    """

    def choose(
        input: Tensor,
        weight: Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Treatment:
        found: Treatment = usual.choose(input, weight, bias)
        if stride == 1 or stride == (1, 1):
            return found
        (s, t), dense = pair(stride), (*pair(dilation), groups) == (1, 1, 1)
        if not (found is PLAIN and dense and s == t > 1 and input.ndim == 4 and not isinstance(padding, str)):
            return found
        faster = input.device.type == "cpu" and input.shape[1] <= FEW and min(weight.shape[2:]) >= 2 * s
        return _PHASED if faster else found

    return Depends(choose)
