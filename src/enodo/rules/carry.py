"""Relevance of values that are zero.

R = x c says nothing about c where x is zero, and rules for first layers (flat, w-square, box) give relevance there too.
So where relevance is *carried*, c is R / x where x is not zero, and R itself where it is. Moving data leaves x, and
hence c, as they are; other operations on the way read what they are given as relevance, and write what they give back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from enodo.core.tables import Op, Pull, Rule

from . import elementwise
from .layer import TINY, Layer, Pulled, Shares, Weighted
from .linear import CASTS

# Of one argument on the path, entry by entry or nearly so: what goes in has the relevance of what comes out.
_ENTRY_BY_ENTRY = (
    elementwise.KINKED | elementwise.SMOOTH | elementwise.SINGULAR | frozenset(CASTS)
    | frozenset("add sub rsub neg positive mul div rdiv batch_norm affine standardise dropout".split())
)  # fmt: skip


def nearly(x: Tensor) -> Tensor:
    """Where a number counts as zero: R / x has to be a number of the same dtype."""
    zero: Tensor = x.abs() < max(TINY, torch.finfo(x.dtype).smallest_normal ** 0.5)
    return zero


def written(x: Tensor, relevance: Tensor) -> Tensor:
    """Relevance of x as c."""
    zero = nearly(x)
    return torch.where(zero, relevance, relevance / torch.where(zero, 1, x))


def read(x: Tensor, c: Tensor) -> Tensor:
    """c of x as relevance."""
    return torch.where(nearly(x), c, x * c)


def plain(x: Tensor, c: Tensor) -> Tensor:
    """c of x without relevance where x is zero, as operations that do not carry it give it: x c in every entry."""
    return torch.where(nearly(x), x * c, c)


def lost(y: Tensor, c: Tensor) -> Tensor:
    """Carried c of y for an operation that cannot hand on relevance of zeros: where y is zero, nobody made it."""
    return torch.where(nearly(y), 0, c)


@dataclass
class Carried:
    """A rule with operands `to` which relevance is carried, and (`onward`) a result from which it is.

    A function of one argument, entry by entry, hands on all of it before the `first` layer with weights, as it but
    prepares the values; elsewhere that of zeros, which the rule knows nothing of.
    """

    rule: Rule
    to: Sequence[bool]
    onward: bool
    first: bool
    plain: bool  # whether the rule is the operation's own gradient

    def __call__(self, op: Op) -> Pull:
        pull = self.rule(op)
        xs = [x.clone() if flag else None for x, flag in zip(op.xs, self.to, strict=True)]
        y = op.y.clone()
        i = op.live.index(True)
        single = self.onward and sum(op.live) == 1 and op.name in _ENTRY_BY_ENTRY

        def back(gy: Tensor) -> list[Tensor | None]:
            if single and self.first:
                found: list[Tensor | None] = [None] * len(xs)
            else:
                given = pull(lost(y, gy) if self.onward else gy)
                found = [g if x is None or g is None else plain(x, g) for x, g in zip(xs, given, strict=True)]
            x = xs[i]
            if single and x is not None:
                rest = read(y, gy) if self.first else torch.where(nearly(y), gy, 0)
                more = written(x, rest.sum_to_size(x.shape))
                usual = found[i]
                found[i] = more if usual is None else usual + more
            return found

        return back


def carrying(rule: Weighted, arrives: bool, onward: bool) -> Shares:
    """Shares of a layer to whose operand relevance is carried (`arrives`), and from whose result it is (`onward`).

    Those of an outright rule are shares of relevance, which is carried to the operand in any case.
    """

    def shares(layer: Layer) -> Pulled:
        pull, x, y = rule.shares(layer), layer.x.clone(), layer.y.clone()  # the model may write into its own
        if rule.outright:
            return lambda gy: written(x, pull(read(y, gy) if onward else y * gy))

        def back(gy: Tensor) -> Tensor:
            c = pull(lost(y, gy) if onward else gy)
            return plain(x, c) if arrives else c

        return back

    return shares
