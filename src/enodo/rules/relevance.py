"""Rules of relevance for what is made of no weights.

`identity` gives all relevance to the argument, to `shared` factors each its part, `constant` gives none back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core.tables import Op, Pull, closed

from .differences import need_real
from .layer import TINY


def identity(op: Op) -> Pull:
    """All relevance of f(x) goes to x, entry by entry: c f(x) / x; where x is zero, the derivative."""
    i = op.live.index(True)
    x = op.xs[i]
    need_real(op.name, x)
    near = x.abs() < TINY
    ratio = torch.where(near, 0, op.y / torch.where(near, 1, x))

    def pull(gy: Tensor) -> list[Tensor | None]:
        found = (gy * ratio).sum_to_size(shape)
        derivative = op.vjp(gy * near)[i] if at_zero else None
        found = found if derivative is None else found + derivative
        return [found if k == i else None for k in range(count)]

    at_zero, shape, count = bool(near.any()), x.shape, len(op.xs)
    return pull


def shared(op: Op) -> Pull:
    """Factors on the path share alike: each gets the gradient over the number of them (AttnLRP's uniform rule)."""
    parts = sum(op.live)
    return lambda gy: op.vjp(gy / parts)


def gated(op: Op) -> Pull:
    """The last factor is what is gated or mixed, and gets all; the others are taken for constants (CP-LRP)."""
    last = max(i for i, live in enumerate(op.live) if live)
    return lambda gy: [g if i == last else None for i, g in enumerate(op.vjp(gy))]


@closed
def constant(op: Op) -> Pull:
    """No relevance goes back."""
    return lambda gy: [None] * len(op.xs)


def divided(op: Op) -> Pull:
    """The denominator is taken for a constant."""
    numerator = isinstance(op.call.get(0, "input"), Tensor)
    return lambda gy: [g if i == 0 and numerator else None for i, g in enumerate(op.vjp(gy))]


@closed
def standardised(op: Op) -> Pull:
    """The deviation is taken for a constant: the norm is linear (AttnLRP, proposition 3.4)."""
    x, dims, eps, centre = op.xs[0], *op.call.args[1:]
    axes = tuple(range(-dims, 0))
    c = x - x.mean(axes, keepdim=True) if centre else x
    r = torch.rsqrt(c.square().mean(axes, keepdim=True) + eps)

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = gy * r
        return [g - g.mean(axes, keepdim=True) if centre else g]

    return pull
