"""Values as means over orders in which the features arrive: each gets what it adds on arrival.

Orders come in pairs, one the reverse of the other: their mean is exact wherever features act at most two together. The
coalitions that the reverse passes through are the complements of those that the order passes through. The orders of a
round make up for one another (`.balance`), which leaves every single order uniform.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from enodo.core.game import Game
from enodo.core.streams import Streams

from .balance import ranks
from .every import lifted


class Orders:
    """The estimate of the values of features from pairs of orders.

    `levels` restrict the orders to those of a hierarchy: for each level, coarse ones first, the number (n,) of the node
    that each feature belongs to. The features of a node arrive one right after another.
    """

    def __init__(self, game: Game, levels: Sequence[Tensor] = (), streams: Streams | None = None) -> None:
        self.game, self.levels, self.streams = game, levels, streams or game.q.streams
        self.cost = 2 * max(game.n - 1, 1)
        self.details: dict[str, Tensor] = {}
        self.gains: list[Tensor] = []  # each (units, T, B, n)
        self.spans: list[Tensor] = []  # the difference between the two of a pair, likewise

    def more(self, units: int) -> None:
        """Draw and evaluate this many pairs more."""
        n = self.game.n
        rank = self._ranks(units)  # (units, B, n): when each feature arrives
        steps, half = n - 1, units * (n - 1)
        both = torch.cat([rank, n - 1 - rank]).to(torch.int16 if n < 1 << 15 else torch.int64)  # less to move

        def make(i: int, j: int) -> Tensor:
            at = torch.arange(i, j)
            step = at % steps + 1
            step = torch.where(at < half, step, n - step).to(both.dtype)
            return both.index_select(0, at // steps) < step[:, None, None]

        ends = torch.stack([lifted(self.game.empty, 0), lifted(self.game.full, 0)])
        found = [lifted(s) for _, _, s in self.game.stream(2 * half, make)]
        scores = torch.cat([ends[:0], *found]).unflatten(0, (2, units, steps))
        start, end = (e.expand(units, 1, *e.shape) for e in ends)
        there = torch.cat([start, scores[0], end], 1).diff(dim=1)
        back = -torch.cat([end, scores[1], start], 1).diff(dim=1)
        at = rank.to(ends.device)[:, None].expand(-1, ends.shape[1], -1, -1)
        there, back = (t.movedim(1, -1).gather(-1, at) for t in (there, back))
        self.gains.append((there + back) / 2)
        self.spans.append((there - back) / 2)

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n)."""
        gains = torch.cat(self.gains)
        if len(gains) == 1:  # the two of a pair, as if they were independent, which errs to the safe side
            return gains[0], torch.cat(self.spans)[0].abs()
        return gains.mean(0), gains.std(0) / len(gains) ** 0.5

    @property
    def freedom(self) -> int:
        """Of the standard errors: what the pairs leave besides their mean."""
        return max(sum(map(len, self.gains)) - 1, 1)

    def keep(self, game: Game, rows: Tensor) -> Orders:
        """The same estimate for some of the rows."""
        some = Orders(game, self.levels, self.streams.take(rows))
        some.gains, some.spans = ([t[:, :, rows] for t in ts] for ts in (self.gains, self.spans))
        return some

    def _ranks(self, units: int) -> Tensor:
        rank = ranks(self.streams, units, self.game.n)
        for level in reversed(self.levels):
            order = _inverse(rank)
            times = ranks(self.streams, units, int(level.max()) + 1)[..., level]
            order = order.gather(-1, times.gather(-1, order).argsort(dim=-1, stable=True))
            rank = _inverse(order)
        return rank.movedim(0, 1)


def _inverse(order: Tensor) -> Tensor:
    """Where each thing stands in an order (..., n), or which thing stands where."""
    return torch.empty_like(order).scatter_(-1, order, torch.arange(order.shape[-1]).expand_as(order))
