"""How far a change within a map reaches through an operation: the window of its result that may differ, and its values.

A `Patch` holds k rows that are all equal to one known row, (1, C, H, W), but for a window of each. For an operation
whose result at a place depends on places near it, only the window that can differ is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MOST = 0.8  # of a map; where more can differ, the whole of it is computed
LAID = torch.channels_last  # how maps lie: the rows of a window are one piece each, and small convolutions are faster


@dataclass(frozen=True)
class Patch:
    """k rows equal to `base`, (1, C, H, W), but for `new`, (k, C, h, w), that begins at (top, left) of each row."""

    base: Tensor
    new: Tensor
    top: tuple[int, ...]
    left: tuple[int, ...]

    def whole(self) -> Tensor:
        """The rows, (k, C, H, W)."""
        rows = self.base.expand(len(self.new), *self.base.shape[1:]).clone(memory_format=LAID)
        h, w = self.new.shape[2:]
        for row, new, y, x in zip(rows, self.new, self.top, self.left, strict=True):
            row[:, y : y + h, x : x + w] = new
        return rows

    def window(self, top: Sequence[int], left: Sequence[int], h: int, w: int, fill: float = 0.0) -> Tensor:
        """The windows (k, C, h, w) that begin at (top, left); what lies outside of the map is `fill`."""
        H, W = self.base.shape[2:]
        ph, pw = self.new.shape[2:]
        if (h, w, *top, *left) == (ph, pw, *self.top, *self.left):
            return self.new
        before = [max(0, -min(top)), max(0, -min(left))]
        after = [max(0, max(top) + h - H), max(0, max(left) + w - W)]
        base = F.pad(self.base, (before[1], after[1], before[0], after[0]), value=fill)[0]
        shape = (len(self.new), len(base), h, w)
        found = torch.empty(shape, dtype=base.dtype, device=base.device, memory_format=LAID)
        places = zip(found, self.new, top, left, self.top, self.left, strict=True)
        for out, new, y, x, py, px in places:
            out.copy_(base[:, y + before[0] : y + before[0] + h, x + before[1] : x + before[1] + w])
            a, b, c, d = max(y, py), min(y + h, py + ph), max(x, px), min(x + w, px + pw)
            if a < b and c < d:
                out[:, a - y : b - y, c - x : d - x] = new[:, a - py : b - py, c - px : d - px]
        return found


def _span(start: int, size: int, kernel: int, stride: int, pad: int, dilation: int, out: int) -> tuple[int, int]:
    """First and one past the last of the `out` results that read any of `size` places from `start`."""
    first = -((dilation * (kernel - 1) - start - pad) // stride)
    last = (start + size - 1 + pad) // stride
    return max(0, min(first, out - 1)), max(1, min(last + 1, out))


def _spans(
    starts: Sequence[int], size: int, kernel: int, stride: int, pad: int, dilation: int, out: int
) -> tuple[list[int], int]:
    """Where the windows of results begin, and the size that suffices for all of them."""
    spans = [_span(start, size, kernel, stride, pad, dilation, out) for start in starts]
    most = max(1, *(b - a for a, b in spans))
    return [min(a, out - most) for a, _ in spans], most


def slid(
    p: Patch,
    base: Tensor,
    kernel: Any,
    stride: Any,
    pad: Any,
    dilation: Any,
    fill: float,
    fn: Callable[[Tensor], Tensor],
) -> Patch | None:
    """The Patch of an operation that slides a kernel over the map; `fn` does it on windows that are padded already."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(_pair, (kernel, stride, pad, dilation))
    out_h, out_w = base.shape[2:]
    tops, h = _spans(p.top, p.new.shape[2], kh, sh, ph, dh, out_h)
    lefts, w = _spans(p.left, p.new.shape[3], kw, sw, pw, dw, out_w)
    if h * w > MOST * out_h * out_w:
        return None
    read_h, read_w = (h - 1) * sh + dh * (kh - 1) + 1, (w - 1) * sw + dw * (kw - 1) + 1
    window = p.window([y * sh - ph for y in tops], [x * sw - pw for x in lefts], read_h, read_w, fill)
    return Patch(base, fn(window), tuple(tops), tuple(lefts))


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        return (int(value[0]), int(value[-1]))
    return int(value), int(value)


def conv2d(
    base: Tensor, x: Patch, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Patch | None:  # fmt: skip
    """Of `F.conv2d`."""
    if padding == "valid":
        padding = 0
    elif isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(_pair(dilation), weight.shape[2:], strict=True)]
        if any(r % 2 for r in reach):
            return None
        padding = [r // 2 for r in reach]

    def fn(window: Tensor) -> Tensor:
        return F.conv2d(window, weight, bias, stride, 0, dilation, groups)

    return slid(x, base, tuple(weight.shape[2:]), stride, padding, dilation, 0.0, fn)


def max_pool2d(
    base: Tensor, x: Patch, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Patch | None:  # fmt: skip
    """Of `F.max_pool2d`."""
    if ceil_mode or return_indices:
        return None
    stride = stride or kernel_size
    lowest = float("-inf")
    return slid(
        x,
        base,
        kernel_size,
        stride,
        padding,
        dilation,
        lowest,
        lambda t: F.max_pool2d(t, kernel_size, stride, 0, dilation),
    )


def avg_pool2d(
    base: Tensor, x: Patch, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Patch | None:  # fmt: skip
    """Of `F.avg_pool2d`."""
    if ceil_mode or divisor_override or (not count_include_pad and any(_pair(padding))):
        return None
    stride = stride or kernel_size
    return slid(x, base, kernel_size, stride, padding, 1, 0.0, lambda t: F.avg_pool2d(t, kernel_size, stride))


def pad(base: Tensor, x: Patch, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Patch | None:
    """Of `F.pad` with a constant around the map: what differs stands elsewhere."""
    if mode != "constant" or len(pad) > 4 or min(pad) < 0:
        return None
    left, top = pad[0], pad[2] if len(pad) > 2 else 0
    return Patch(base, x.new, tuple(y + top for y in x.top), tuple(c + left for c in x.left))


SLIDING: dict[str, Callable[..., Patch | None]] = {
    "conv2d": conv2d, "max_pool2d": max_pool2d, "avg_pool2d": avg_pool2d, "pad": pad,
}  # fmt: skip


def pointwise(base: Tensor, operands: Sequence[Any], fn: Callable[..., Tensor]) -> Patch | None:
    """Of an operation that treats each place by itself: `operands` are Patches and known rows (1, C, H, W) alike.

    Windows are widened to one that holds those of all Patches.
    """
    H, W = base.shape[2:]
    patches = [o for o in operands if isinstance(o, Patch)]
    if any((o.base if isinstance(o, Patch) else o).shape[2:] != (H, W) for o in operands):
        return None
    first = patches[0]
    if len(operands) == 1:
        return Patch(base, fn(first.new), first.top, first.left)
    ends = [
        (
            min(y for y, _ in rows), max(y + p.new.shape[2] for (y, _), p in zip(rows, patches, strict=True)),
            min(x for _, x in rows), max(x + p.new.shape[3] for (_, x), p in zip(rows, patches, strict=True)),
        )
        for rows in zip(*(zip(p.top, p.left, strict=True) for p in patches), strict=True)
    ]  # fmt: skip
    h, w = max(b - a for a, b, _, _ in ends), max(d - c for _, _, c, d in ends)
    if h * w > MOST * H * W:
        return None
    top, left = [min(a, H - h) for a, _, _, _ in ends], [min(c, W - w) for _, _, c, _ in ends]
    still = torch.empty(0)
    windows = [
        o.window(top, left, h, w)
        if isinstance(o, Patch)
        else Patch(o, still.new_empty(len(top), 0, 0, 0), (0,) * len(top), (0,) * len(top)).window(top, left, h, w)
        for o in operands
    ]
    return Patch(base, fn(*windows), tuple(top), tuple(left))
