"""Guided integrated gradients: a path that moves first what changes the score least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from enodo.core import targets
from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, accumulator

from .path import check_steps


@method(
    "guided_ig",
    title="Guided integrated gradients",
    paper="Kapishnikov et al. 2021, arXiv:2106.09788, algorithm 1",
    when="Integrated gradients where the straight path meets noise: steep places are passed as late as possible.",
    needs="gradient score baseline",
    claims="completeness",
)
def guided_ig(q: Question, *, steps: int = 50, fraction: float = 0.25, distance: float = 0.02) -> Values:
    """The gradient integrated along a path of its own for each row and target: sum(a) = f(x) - f(x0) as steps grow.

    On each step the values move on whose gradients are smallest, a `fraction` of them at a time, until the L1 distance
    to the inputs is what it would be on the straight path; none gets further from that path than `distance` of the
    whole way (0 is the straight path, 1 gives all freedom). A step is credited the mean gradient of its ends, so that
    errors fall with the square of the steps. Targets have a path each, so passes are not shared.
    """
    check_steps(steps)
    for name, value in (("fraction", fraction), ("distance", distance)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            refuse(name, value, "a share from 0 to 1", kind=BadType)
    if not fraction:
        refuse("fraction", fraction, "more than 0")
    found = [_along(part, steps, fraction, distance) for part in _alone(q)]
    return Values(torch.stack(ts) for ts in zip(*(v.leaves for v in found), strict=True)) if q.many else found[0]


def _alone(q: Question) -> Iterator[Question]:
    """The question about each target by itself; passes have no more than the question's own rows."""
    if not q.many:
        yield q
        return
    every = targets.selector(q.settled_target, q.rows)
    for t in range(len(q.scores)):
        yield replace(q, target=lambda output, t=t: every(output, 1)[t], memo={"sight": q.sight, "x": q.x, "x0": q.x0})


def _along(q: Question, steps: int, fraction: float, distance: float) -> Values:
    """The integral along one path a row, all of a row's values as one vector (B, F)."""
    like = q.x
    x, x0 = (torch.cat([t.reshape(q.rows, -1).to(accumulator(t.dtype)) for t in v.leaves], 1) for v in (like, q.x0))
    size = math.ceil(fraction * x.shape[1])
    whole = (x - x0).abs().sum(1)
    now, total = x0, torch.zeros_like(x)
    g = _gradient(q, now, like)
    for step in range(1, steps + 1):
        alpha = step / steps
        low, high = (torch.lerp(x0, x, min(max(alpha + d, 0.0), 1.0)) for d in (-distance, distance))
        begun = torch.where((now - x0).abs() < (low - x0).abs(), low, now)  # none lags behind
        ahead = torch.where((begun - x0).abs() < (high - x0).abs(), high, begun)
        need = (x - begun).abs().sum(1) - whole * (1 - alpha)
        end = x if step == steps else torch.lerp(begun, ahead, _shares(g, (ahead - begun).abs(), need, size))
        there = _gradient(q, end, like)
        total = total + (end - now) * (g + there) / 2
        now, g = end, there
    return _shaped(total, like)


def _shares(g: Tensor, room: Tensor, need: Tensor, size: int) -> Tensor:
    """How far each value moves of the `room` it has, (B, F), for the L1 distances moved to add up to `need`, (B,).

    In the order of their gradients, `size` of them at a time: groups move to the end, one in part, and the others stay.
    """
    order = torch.where(room > 0, g.abs(), math.inf).argsort(dim=1, stable=True)
    count = g.shape[1]
    groups = torch.arange(count, device=g.device) // size
    rooms = torch.zeros(len(g), int(groups[-1]) + 1, dtype=g.dtype, device=g.device)
    rooms = rooms.index_add(1, groups, room.gather(1, order))
    left = need[:, None] - (rooms.cumsum(1) - rooms)
    share = (left / torch.where(rooms > 0, rooms, 1)).clamp(0, 1)
    return torch.zeros_like(g).scatter(1, order, share[:, groups])


def _gradient(q: Question, at: Tensor, like: Values) -> Tensor:
    """The gradient (B, F) at one point a row."""
    points = _shaped(at, like).map(lambda t: t[None])
    ((_, _, g),) = q.grads(1, lambda i, j: points)
    return torch.cat([t[0].reshape(q.rows, -1).to(at.dtype) for t in g.leaves], 1)


def _shaped(flat: Tensor, like: Values) -> Values:
    parts = flat.split([t[0].numel() for t in like.leaves], 1)
    return Values(p.reshape(t.shape).to(t.dtype) for p, t in zip(parts, like.leaves, strict=True))
