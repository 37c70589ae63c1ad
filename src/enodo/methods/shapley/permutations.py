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

DOUBT = 3.0  # features for which the pairs are taken to be independent, beside those that were measured


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
        self.spans: list[Tensor] = []  # half of what the two of a pair differ by, likewise, of pairs drawn alone

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

        empty, full = lifted(self.game.empty, 0), lifted(self.game.full, 0)
        found = [lifted(s) for _, _, s in self.game.stream(2 * half, make)]
        scores = torch.cat([empty[None][:0], *found]).unflatten(0, (2, units, steps))
        at = rank.to(full.device)[:, None].expand(-1, len(full), -1, -1)

        def gained(first: Tensor, between: Tensor, last: Tensor) -> Tensor:
            ends = [t.expand(units, 1, *t.shape) for t in (first, last)]
            along = torch.cat([ends[0], between, ends[1]], 1).diff(dim=1)
            return along.movedim(1, -1).gather(-1, at) / 2

        # the reverse is met backwards: what it adds has the other sign
        self.gains.append(gained(empty - full, scores[0] - scores[1], full - empty))
        if units == 1:
            self.spans.append(gained(empty + full, scores[0] + scores[1], empty + full))

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n).

        The pairs make up for one another, so their mean is off by less than that of pairs drawn one by one. How much
        less is told by the two halves of the pairs, each balanced in itself: the difference between them is one number
        a feature, but all features together say which share of the variance is left. The halves of a single round make
        up for one another too, and so differ by more than their mean is off, never by less.
        """
        gains = torch.cat(self.gains)
        if len(gains) == 1:  # the two of a pair, as if they were independent, which errs to the safe side
            return gains[0], torch.cat(self.spans)[0].abs()
        units, half, mean = len(gains), len(gains) // 2, gains.mean(0)
        alone = gains.var(0) / units  # of the mean, if the pairs were drawn one by one
        apart = (gains[:half].mean(0) - mean).square() * (half / (units - half))  # as the halves of the pairs tell it
        doubt = DOUBT * alone.amax(-1)
        share = (apart.sum(-1) + doubt) / (alone.sum(-1) + doubt).clamp_(min=1e-300)
        return mean, (alone * share[..., None]).sqrt_()

    @property
    def freedom(self) -> float:
        """Of the standard errors: what the pairs leave besides their mean, or the features beside their sum."""
        return max(min(sum(map(len, self.gains)), self.game.n + DOUBT) - 1, 1)

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
