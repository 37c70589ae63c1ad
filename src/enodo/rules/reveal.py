"""DeepLIFT's RevealCancel rule: positive and negative contributions to a function go through it apart.

A layer with weights tells what speaks for its result and what against it, dz = p + n: the sums of the positive and of
the negative w_i (x_i - x0_i). A function of z then has, as means over both orders in which they may come,

    dy+ = (f(z0 + p) - f(z0) + f(z0 + n + p) - f(z0 + n)) / 2,    dy- likewise,

and multipliers dy+ / p and dy- / n, so that contributions that cancel in z are not lost where f is flat. Functions of
what comes from no such layer, and other operations, have the rescale rule: it is the same where one of p, n is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import Bound, is_live
from enodo.core.tables import Depends, Op, Pull, Rule, Table, Treatment, closed

from . import elementwise
from .differences import bilinear, derivative, reference
from .rescale import RESCALE, WEIGHTED

_LINK = "_positive_and_negative"


@dataclass
class _Link:
    """Between a layer with weights and the functions of its result."""

    plus: Tensor
    minus: Tensor
    version: int = -1  # of the result; another one once code of the model has written into it
    extra: Tensor | None = None  # in a backward pass: what the multiplier of `minus` has beyond that of `plus`


class RevealCancel:
    """Follows one pass: what each layer with weights has told waits on its result for the function that comes next."""

    def __init__(self) -> None:
        self.told: _Link | None = None

    def before_write(self) -> None:
        """Versions tell."""

    def after(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        """Only ruled operations matter."""

    def made(self, call: Bound, rule: Rule, out: Any) -> None:
        """Leave what a layer has told on its result."""
        if self.told is not None:
            self.told.version = out._version
            setattr(out, _LINK, self.told)
            self.told = None

    def layer(self, op: Op) -> Pull:
        """A sum of x_i w_i: which of the contributions are positive, and which negative."""
        x, w = op.xs[0], op.xs[1]
        dx, bias = x - reference(op).xs[0], [torch.zeros_like(b) for b in op.xs[2:]]
        live = [True, False, *[False] * len(bias)]
        up, down, more, less = dx.clamp(min=0), dx.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
        plus = op.call(up, more, *bias) + op.call(down, less, *bias)
        self.told = link = _Link(plus, op.call(up, less, *bias) + op.call(down, more, *bias))

        def back(g: Tensor, weight: Tensor) -> Tensor:
            return op.call.pulled_at([x, weight, *bias], live, g)[0]  # type: ignore[return-value]  # it is live

        def pull(gy: Tensor) -> list[Tensor | None]:
            other, link.extra = link.extra, None
            if other is None:
                return [back(gy, w), None, *[None] * len(bias)]
            minus = gy + other
            rising, falling = back(gy, more) + back(minus, less), back(gy, less) + back(minus, more)
            still = (rising + falling) / 2
            g = torch.where(dx > 0, rising, torch.where(dx < 0, falling, still))
            return [g, None, *[None] * len(bias)]

        return pull


def _apart(rescale: Rule) -> Rule:
    """The rule for a function of one number."""

    @closed
    def rule(op: Op) -> Pull:
        i = op.live.index(True)
        link: _Link | None = getattr(op.call.operands[i], _LINK, None)
        if link is None or link.version != op.call.operands[i]._version or sum(op.live) != 1:
            return rescale(op)
        return _both(op, i, link)

    return rule


def _both(op: Op, i: int, link: _Link) -> Pull:
    """Multipliers of what is positive and of what is negative."""
    x0, y0, y = reference(op).xs[i], reference(op).y, op.y
    p, n, count = link.plus, link.minus, len(op.xs)

    def f(t: Tensor) -> Tensor:
        found: Tensor = op.call(*[t if k == i else x for k, x in enumerate(op.xs)])
        return found

    with_p, with_n = f(x0 + p), f(x0 + n)
    slopes = []
    for part, alone, rest, start in ((p, with_p - y0, y - with_n, x0 + n), (n, with_n - y0, y - with_p, x0 + p)):
        near = part.abs() <= torch.finfo(part.dtype).eps ** 0.75
        slope = (alone + rest) / 2 / torch.where(near, 1, part)
        if near.any():
            slope = torch.where(near, (derivative(op, i, x0) + derivative(op, i, start)) / 2, slope)
        slopes.append(slope)

    def pull(gy: Tensor) -> list[Tensor | None]:
        plus, minus = (gy * slope for slope in slopes)
        link.extra = minus - plus if link.extra is None else link.extra + minus - plus
        return [plus if k == i else None for k in range(count)]

    return pull


def reveal_cancel() -> Table:
    """The table of one pass: RevealCancel for functions of layers with weights, else the rescale rule."""
    follow = RevealCancel()

    def weighted(*args: Any, **kwargs: Any) -> Treatment:
        if any(map(is_live, args[1:])) or any(map(is_live, kwargs.values())):
            return bilinear
        return follow.layer

    names = elementwise.KINKED | elementwise.SMOOTH | elementwise.SINGULAR
    apart = {name: _apart(rule) for name in names if callable(rule := RESCALE.entries[name])}
    entries = {**RESCALE.entries, **apart, **dict.fromkeys(WEIGHTED, Depends(weighted))}
    return Table(entries, compares=True, trail=follow)
