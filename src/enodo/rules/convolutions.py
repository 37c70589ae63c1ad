"""Gradients of convolutions of pictures with constant weights, in the forms that oneDNN does fastest on a CPU.

The gradient of a convolution is a transposed convolution of the gradient of its result; with channels last oneDNN takes
half the time for it or less where there is a stride or a group a channel (but twice the time where many channels have
few places). It works through channels by the sixteen, of which a picture fills three. So what goes back to few channels
goes to blocks of b x b places, each place a channel, b = s q for a stride s: the gradient of y_i = sum_j w_j x_{si + j}
at x_{bn + r} is sum_m w_{r - sm} gy_{qn + m}, a convolution with stride q, dense in its b^2 times as many channels. The
first layer of a ResNet takes 0.7 ms a row this way instead of 1.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import PLAIN, Depends, Plain, Treatment
from enodo.core.transforms import level, lies_last

FEW = 4  # channels
_ONEDNN = torch.backends.mkldnn.is_available()
SMALL = 1 << 18  # weights that are kept laid as oneDNN wants them
DEEP = 1 << 15  # weights for each place of a picture, from which on channels last are slower: 512 channels of 4 x 4
MANY = 1 << 16  # numbers, from which on one gradient to few channels is worth its preparations


def pair(value: Any) -> tuple[Any, Any]:
    """What an argument of a convolution says of height and width."""
    return (value, value) if isinstance(value, int) else (*value, *value)[:2]


class Convolved(torch.autograd.Function):
    """F.conv2d of (B, C, H, W); nothing is kept of what it is done to."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.how, ctx.back = input.shape[2:], (pair(stride), pair(padding), pair(dilation), groups), None
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gy,), (weight,) = grads, ctx.saved_tensors
        if ctx.back is None:  # once for all passes back
            ctx.back = (_by_blocks if _few(weight, *ctx.how) else _transposed)(weight, ctx.size, *ctx.how)
        return (ctx.back(gy), *[None] * 6)


def _last(gy: Tensor) -> Tensor:
    return gy if lies_last(gy) else gy.movedim(-3, -1).contiguous().movedim(-1, -3)


def _few(weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    return weight.shape[1] <= FEW and stride[0] == stride[1] and (*dilation, groups) == (1, 1, 1)


def _transposed(
    weight: Tensor, size: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Callable[[Tensor], Tensor]:
    """The gradient, for inputs of a size, as a transposed convolution."""
    dense = groups == 1
    deep = dense and stride == (1, 1) and min(weight.shape[2:]) > 1 and weight.numel() > DEEP * size[0] * size[1]
    small = dense and not deep and weight.numel() <= SMALL  # larger ones oneDNN lays anew in no time beside the rest
    laid = weight.contiguous(memory_format=torch.channels_last) if small else weight

    def back(gy: Tensor) -> Tensor:
        gy = gy.contiguous() if deep else _last(gy)
        reach = zip(gy.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        reached = [(places - 1) * s - 2 * p + d * (kernel - 1) + 1 for places, kernel, s, p, d in reach]
        rest = [whole - some for whole, some in zip(size, reached, strict=True)]
        return F.conv_transpose2d(gy, laid, None, stride, padding, rest, groups, dilation)

    return back


def _by_blocks(weight: Tensor, size: Any, stride: Any, padding: Any, *_: Any) -> Callable[[Tensor], Tensor]:
    """The gradient, for inputs of a size, by blocks of b x b places."""
    s = stride[0]
    b = s if s > 1 else 2
    needed = []  # before what is given, and up to where in all
    for d in (-2, -1):
        kernel, before = weight.shape[d], padding[d]
        first, last = -((kernel - 1 - before) // s), (b - 1 + before) // s
        needed.append((-first, b // s * (-(-size[d] // b) - 1) + last + 1))
        reaching = [r + before - s * m for r in range(b) for m in range(first, last + 1)]  # the weights of each place
        taps = torch.tensor([j if 0 <= j < kernel else kernel for j in reaching], device=weight.device)
        weight = F.pad(weight, (0, 0) * (d == -2) + (0, 1))  # one more, of zero, for places that are not reached
        weight = weight.index_select(d, taps).unflatten(d, (b, -1))
    weight = weight.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)  # (co, c, b, m, b, m): channels and places go to the front
    laid, q = weight.contiguous(memory_format=torch.channels_last), b // s

    def back(gy: Tensor) -> Tensor:
        pads, starts = [], []  # as much on both sides, and the first block that is meant: other pads would be copies
        for (before, end), given in zip(needed, gy.shape[2:], strict=True):
            starts.append(-((before - max(before, end - given, 0)) // q))
            pads.append(before + q * starts[-1])
        found = F.conv2d(_last(gy), laid, None, q, pads)[..., starts[0] :, starts[1] :]
        return F.pixel_shuffle(found, b)[..., : size[0], : size[1]]

    return back


def convolved(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """F.conv2d, by `Convolved`."""
    found: Tensor = Convolved.apply(input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-untyped-call]
    return found


def quick(input: Tensor) -> bool:
    """Whether pictures (B, C, H, W) are what oneDNN convolves, and `Convolved` may be told of."""
    return input.ndim == 4 and input.dtype == torch.float32 and input.device.type == "cpu" and _ONEDNN and not level()


_ALWAYS, _OF_PAIRS = Plain(convolved), Plain(convolved, alone=False)


def quickly_back(usual: Depends) -> Depends:
    """What `usual` says of an F.conv2d, with the gradient of `Convolved` where that is right and faster.

    Where one gradient goes back for one pass forth, what has to be laid out anew takes what is gained, but for few
    channels.
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
        if found is not PLAIN or not quick(input) or weight.requires_grad or isinstance(padding, str):
            return found
        if weight.shape[1] > FEW and len(input) == 1 and groups == 1:
            return found  # then there are as many rows to lay as pairs
        if weight.shape[1] > FEW or input.numel() < MANY or min(weight.shape[2:]) == 1:
            return _OF_PAIRS
        return _ALWAYS if _few(weight, pair(stride), pair(padding), pair(dilation), groups) else _OF_PAIRS

    return Depends(choose)
