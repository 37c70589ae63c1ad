"""Sums along a path in terms of its points: the change of a value from each to the next, times the gradient there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.values import Values

from .path import cut, times

Terms = Iterator[tuple[Values, Values]]


def stieltjes(blocks: Iterable[tuple[int, int, tuple[Values, ...]]], n: int, one_sided: bool = False) -> Values:
    """The sum over n points of a path of the change of h to the next point, times the mean gradient of the two.

    Blocks are of (h, gradient). The gradients of both ends are not read but for theirs the neighbours': at a baseline
    it may be singular. `one_sided` takes the gradient of the first of each pair.
    """
    terms = _forward if one_sided else _central(n)
    reach = 1 if one_sided else 2  # points that a term looks back
    before: list[Values] = []  # h and gradients at the last points before a block

    def met(block: tuple[int, int, tuple[Values, ...]]) -> Values | None:
        """The terms that end in a block; none where it has too few points."""
        i, _, (h, g) = block
        stretches, last = [(i, h, g)], [h, g]
        if before:  # the terms that reach from the points before into this block
            bridge = [b.map(_end_to_end, cut(s, 0, reach)) for b, s in zip(before, (h, g), strict=True)]
            stretches.append((i - _count(before[0]), bridge[0], bridge[1]))
            last = bridge if _count(h) < reach else last
        before[:] = [cut(v, -reach, None).map(torch.clone) for v in last]
        pairs = [pair for stretch in stretches for pair in terms(*stretch)]
        return _sum(slope.map(_products, change) for slope, change in pairs)

    total = _sum(map(met, blocks))  # a loop's variables would keep a block while the next is made
    if total is None:
        refuse("steps", n, "at least two points")
    return total if one_sided else total / 2


def _products(g: Tensor, change: Tensor) -> Tensor:
    """The sum over points of gradients times changes, which nothing else uses: their room serves for the products."""
    return (change.mul_(g) if g.ndim == change.ndim else times(g, change)).sum(0)


def _sum(parts: Iterable[Values | None]) -> Values | None:
    """The sum of those there are."""
    total = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


def _forward(start: int, h: Values, g: Values) -> Terms:
    """For a stretch of points: the gradients g_j and the changes h_j+1 - h_j."""
    if _count(h) > 1:
        yield cut(g, 0, -1), h.map(lambda t: t.diff(dim=0))


def _central(n: int) -> Callable[[int, Values, Values], Terms]:
    """For stretches of n points: twice the mean gradient of two of them times the change between, by points.

    That is g_j and h_j+1 - h_j-1; of the first and the last pair the inner point's gradient is the mean.
    """
    left = [(1, 0), (n - 2, n - 1)]  # points whose gradients have yet to stand for those of the ends next to them

    def terms(start: int, h: Values, g: Values) -> Terms:
        k = _count(h)
        if k > 2:
            yield cut(g, 1, -1), h.map(lambda t: t[2:] - t[:-2])
        for point, end in tuple(left):
            a, b = min(point, end) - start, max(point, end) - start
            if a >= 0 and b < k:
                left.remove((point, end))
                yield cut(g, point - start, point - start + 1), cut(h, b, b + 1) - cut(h, a, a + 1)

    return terms


def _count(v: Values) -> int:
    return v.leaves[0].shape[0]


def _end_to_end(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([a, b])
