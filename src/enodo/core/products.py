"""Products with constant matrices, done by oneDNN where torch's own library leaves half of the processor unused.

torch multiplies float32 matrices on a CPU by Intel's MKL, which gives processors of other makers code for vectors of
256 bits only. oneDNN, to which torch gives convolutions, uses those of 512 bits: about twice as fast. And a product
x W^T of rows is a convolution with a kernel of one place, over rows that lie with channels last: neither operand moves.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import tree as trees
from .transforms import bare, is_batched

# Rows, width of a matrix and multiplications from which on it pays: what oneDNN does beforehand costs time.
_ROWS, _WIDTH, _WORK = 128, 64, 2**25
# oneDNN adds the terms of a sum one after the other. MKL does so with about as many as these and adds up what it finds,
# which rounds less; so does this. What goes back gets twice as many: its errors count a tenth of the others.
_TERMS = 192
# Torch asks oneDNN on one thread too if a stride is given; over the one row that there is, it changes nothing.
_STRIDE = (2, 1)


@cache
def _narrow() -> bool:
    """Whether MKL leaves half of this processor's vectors unused."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    try:
        maker = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        maker = platform.processor()
    return "AuthenticAMD" in maker


def may_pay(inputs: Any, weights: int) -> bool:
    """Whether a model of so many weights may have a product, at these inputs, that is worth being looked for."""
    if weights < _WIDTH**2:
        return False
    given = [t for _, t in trees.leaves(inputs) if isinstance(t, Tensor) and t.ndim]
    rows = (t.numel() // max(t.shape[-1], 1) if t.is_floating_point() else t.numel() for t in given)
    return _pays(max(rows, default=0), weights)


def _pays(rows: int, weights: int) -> bool:
    """Whether the product of so many rows with a matrix of so many weights is done by oneDNN."""
    return rows >= _ROWS and rows * weights >= _WORK and _narrow()


class _Product(torch.autograd.Function):
    """x W^T + b for a constant W (m, n): what a convolution would keep of x for the gradient of W is not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(matrix)
        return _of_rows(F.conv2d, x, matrix, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (g,), (matrix,) = grads, ctx.saved_tensors
        # Where many gradients are taken at once, and where this one's gradient is wanted, torch knows better.
        if is_batched(g) or torch.is_grad_enabled():
            return g @ matrix, None, None
        return _of_rows(F.conv_transpose2d, g, matrix), None, None


def _of_rows(fn: Callable[..., Tensor], x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows (..., n) times a matrix, as convolutions with a kernel of one place; `fn` tells where the matrix has n."""
    rows = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    kernel = matrix[:, :, None, None]
    forth = fn is F.conv2d
    terms = _TERMS if forth else 2 * _TERMS
    parts = zip(rows.split(terms, 1), kernel.split(terms, 1 if forth else 0), strict=True)
    out = fn(*next(parts), bias, stride=_STRIDE)
    for part in parts:
        out.add_(fn(*part, stride=_STRIDE))
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _suits(x: Any, matrix: Any, bias: Any) -> bool:
    """Whether the product of rows x (..., n) with a matrix (m, n), plus a bias (m,), is quicker done by oneDNN."""
    if isinstance(x, Tensor) and isinstance(matrix, Tensor) and x.numel() * matrix.numel() < _WORK:
        return False  # quickly, of what is smaller than that by far
    if not (_is_dense(matrix, 2) and _is_dense(x) and x.ndim >= 2 and x.shape[-1] == matrix.shape[1]):
        return False
    if min(matrix.shape) < _WIDTH or not _pays(x.numel() // matrix.shape[1], matrix.numel()):
        return False
    if bias is not None and not (_is_dense(bias, 1) and len(bias) == len(matrix)):
        return False
    constant = not (matrix.requires_grad or (bias is not None and bias.requires_grad))
    return (constant or not torch.is_grad_enabled()) and not torch.is_autocast_enabled("cpu")


def _is_dense(t: Any, dims: int | None = None) -> bool:
    if type(t) not in (Tensor, nn.Parameter) or (dims is not None and t.ndim != dims):
        return False
    plain = t.dtype == torch.float32 and t.device.type == "cpu" and t.layout is torch.strided
    return plain and bare(t) is t


def _turned(t: Any) -> Any:
    return t.mT if _is_dense(t, 2) else None


_OPERANDS: dict[Any, Callable[..., tuple[Any, Any, Any]]] = {
    F.linear: lambda x, matrix, bias=None: (x, matrix, bias),
    torch.addmm: lambda bias, x, matrix: (x, _turned(matrix), bias),
    **dict.fromkeys((torch.matmul, Tensor.matmul, torch.mm, Tensor.mm), lambda x, matrix: (x, _turned(matrix), None)),
}


def done(func: Any, args: Any, kwargs: Any) -> Any:
    """The result of a call; a product's from oneDNN, where that pays."""
    operands = _OPERANDS.get(func)
    if operands is None or kwargs:
        return func(*args, **kwargs)
    x, matrix, bias = operands(*args)
    if not _suits(x, matrix, bias):
        return func(*args)
    return _Product.apply(x, matrix, bias)  # type: ignore[no-untyped-call]
