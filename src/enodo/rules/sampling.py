"""Pictures read between their points, at places that the model computes: spatial transformers, deformable attention."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.operations import is_live
from enodo.core.tables import PLAIN, Decompose, Depends, Op, Pull, Refuse, Treatment

from .differences import forgetful, halfway, reference

_NEAR = 1 / 3  # the power of eps below which a step of a place is a derivative: see `differences.secant`


@forgetful
def sampled(op: Op) -> Pull:
    """y = S(g) x, linear in the picture x (N, C, ...) in every mode, read at the places g (N, ..., d).

    A product: the picture's gradient is that at both places, halved, and the places have the change from S(g0) to S(g)
    of the picture halfway. The d coordinates of a place share that: each is moved before and after the others, and a
    multiplier of a coordinate is what its move changes over the move.
    """
    (x, g), (x0, g0) = op.xs, reference(op).xs
    middle, between = halfway(x, x0), (g + g0) / 2
    steps, count = [torch.zeros_like(op.y) for _ in range(g.shape[-1])], g.shape[-1]
    for order in (range(count), reversed(range(count))):
        place, before = g0, op.call(middle, g0)
        for k in order:
            place = torch.where(torch.arange(count, device=g.device) == k, g, place)
            after = op.call(middle, place)
            steps[k], before = steps[k] + (after - before) / 2, after
    moves = (g - g0).unbind(-1)
    limit = torch.finfo(g.dtype).eps ** _NEAR

    def pull(gy: Tensor) -> list[Tensor | None]:
        found: list[Tensor | None] = [None, None]
        if op.live[0]:
            here, there = (op.call.pulled_at([middle, at], (True, False), gy)[0] for at in (g, g0))
            found[0] = (here + there) / 2  # type: ignore[operator]  # both are live
        if op.live[1]:
            own = op.call.pulled_at([middle, between], (False, True), gy)[1].unbind(-1)  # type: ignore[union-attr]
            near = [move.abs() <= limit for move in moves]
            shares = [(gy * step).sum(1) for step in steps]
            ways = zip(near, own, shares, moves, strict=True)
            found[1] = torch.stack([torch.where(n, d, s / torch.where(n, 1, move)) for n, d, s, move in ways], -1)
        return found

    return pull


def _read(input: Tensor, grid: Tensor, *args: Any, **kwargs: Any) -> Treatment:
    if not is_live(grid):
        return PLAIN
    if not is_live(input):
        return Refuse("reads a picture that is not explained at places that are, which have no share in what is read")
    return Decompose(lambda input, grid, *args, **kwargs: F.grid_sample(input, grid.detach(), *args, **kwargs))


# Where relevance goes to amounts: a place has none, and what is read at it hands relevance to the picture.
READ = Depends(_read)
