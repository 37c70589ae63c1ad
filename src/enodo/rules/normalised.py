"""Secants of what is divided by a sum or a mean of its own: softmax, norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.tables import Op, Pull

from .differences import bounded, forgetful, reference


@forgetful
def softmax(op: Op) -> Pull:
    """With L the logarithmic mean of y and y0, y - y0 = L (z - z0) for z = log y = x - logsumexp(x).

    As the y sum to one, the change of the logsumexp is the mean of x - x0 under weights L: the gradient is L times that
    of y, less its mean under L. It is the softmax's own where x = x0, and sees no constant added to x.
    """
    dim, mean = _log_mean(op)
    total = mean.sum(dim, keepdim=True)

    def pull(gy: Tensor) -> list[Tensor | None]:
        gy = gy.to(mean.dtype)
        return [(mean * (gy - (mean * gy).sum(dim, keepdim=True) / total)).to(dtype)]

    dtype = op.xs[0].dtype
    return pull


@forgetful
def log_softmax(op: Op) -> Pull:
    """x - logsumexp(x); see `softmax`."""
    dim, mean = _log_mean(op)
    shares, dtype = mean / mean.sum(dim, keepdim=True), op.xs[0].dtype
    return lambda gy: [(gy - shares * gy.sum(dim, keepdim=True)).to(dtype)]


@forgetful
def logsumexp(op: Op) -> Pull:
    """The change of the result is the mean of that of x under the logarithmic means of the softmax."""
    dim, mean = _log_mean(op)
    shares = mean / mean.sum(dim, keepdim=True)
    dims = sorted(d % mean.ndim for d in (dim if isinstance(dim, (tuple, list)) else [dim]))
    kept = bool(op.call.get(2, "keepdim", False))

    def pull(gy: Tensor) -> list[Tensor | None]:
        for d in () if kept else dims:
            gy = gy.unsqueeze(d)
        return [shares * gy]

    return pull


def _log_mean(op: Op) -> tuple[Any, Tensor]:
    """The dimension, and the logarithmic mean (y - y0) / (log y - log y0) of the softmax y along it."""
    x, x0 = op.xs[0], reference(op).xs[0]
    dim = op.call.get(1, "dim", None)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    x, x0 = x.to(op.y.dtype), x0.to(op.y.dtype)
    z, z0 = x - torch.logsumexp(x, dim, keepdim=True), x0 - torch.logsumexp(x0, dim, keepdim=True)
    z, z0 = bounded(z), bounded(z0)
    top, gap = torch.maximum(z, z0), (z - z0).abs()
    flat = gap == 0
    ratio = -torch.expm1(-gap) / torch.where(flat, 1, gap)
    return dim, torch.exp(top) * torch.where(flat, 1, ratio)


@forgetful
def standardise(op: Op) -> Pull:
    """y = c r for c = x - mean(x) (or x) and r = 1 / sqrt(mean(c^2) + eps): a product, with the secant of r.

    r - r0 = -(mean c^2 - mean c0^2) r^2 r0^2 / (r + r0), and c^2 - c0^2 = (c - c0) (c + c0).
    """
    _, dims, eps, centre = op.call.args
    axes = tuple(range(-dims, 0))
    (c, r), (c0, r0) = (_parts(x, axes, eps, centre) for x in (op.xs[0], reference(op).xs[0]))
    c, slope = (c + c0) / 2, 2 * r.square() * r0.square() / (r + r0)
    r, dtype = (r + r0) / 2, op.xs[0].dtype

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = gy * r - c * (slope * (gy * c).mean(axes, keepdim=True))
        return [(g - g.mean(axes, keepdim=True) if centre else g).to(dtype)]

    return pull


def _parts(x: Tensor, axes: tuple[int, ...], eps: float, centre: bool) -> tuple[Tensor, Tensor]:
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    c = x - x.mean(axes, keepdim=True) if centre else x
    return c, torch.rsqrt(c.square().mean(axes, keepdim=True) + eps)


def length(op: Op) -> Pull:
    """|x| - |x0| = (x - x0) (x + x0) / (|x| + |x0|)."""
    _, dim, kept = op.call.args
    (x, x0), y = (op.xs[0], reference(op).xs[0]), op.y + reference(op).y
    dims = sorted(d % x.ndim for d in (dim if isinstance(dim, (tuple, list)) else [dim]))
    for d in () if kept else dims:
        y = y.unsqueeze(d)
    slope = (x + x0) / torch.where(y == 0, 1, y)

    def pull(gy: Tensor) -> list[Tensor | None]:
        for d in () if kept else dims:
            gy = gy.unsqueeze(d)
        return [gy * slope]

    return pull
