"""Average pools of pictures, as convolutions channel by channel: torch does those several times faster on a CPU.

Its own pools go number by number. On one thread a pool of 3 x 3 places takes 1.4 ms forward on (4, 64, 56, 56) and as
long back, a convolution with equal weights 0.35; of fewer numbers than `MANY`, or of large windows, it gains nothing.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from enodo.core.tables import PLAIN, Plain, Treatment

from .convolutions import convolved, pair, quick

MANY = 1 << 16  # numbers
SMALL = 9  # places of a window


def by_weights(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *_: Any, **__: Any) -> Tensor:
    """F.avg_pool2d of (B, C, H, W), in which padding counts."""
    kernel, channels = pair(kernel_size), input.shape[1]
    weight = input.new_full((1, 1, 1, 1), 1 / (kernel[0] * kernel[1])).expand(channels, 1, *kernel)
    return convolved(input, weight, None, stride or kernel, padding, 1, channels)


_WEIGHTED = Plain(by_weights)


def averaged(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Treatment:
    """How an F.avg_pool2d is treated: it is linear, and done by weights where that is faster."""
    kernel = pair(kernel_size)
    counts = not (ceil_mode or divisor_override) and (count_include_pad or not any(pair(padding)))
    faster = counts and quick(input) and input.numel() >= MANY and kernel[0] * kernel[1] <= SMALL
    return _WEIGHTED if faster else PLAIN
