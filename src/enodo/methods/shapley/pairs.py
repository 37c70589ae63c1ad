"""Values as the additive game closest to a game: weighted least squares over coalitions, in pairs with complements.

For a coalition z and its complement, with d = 2 z - 1 and y = v(z) - v(complement), the values a minimise the mean of
(d a - y)^2 under a law for the size of coalitions. Under the Shapley kernel, with the sum of the values held at
v(all) - v(none), they are the Shapley values (Lundberg and Lee 2017, theorem 2); under coalitions drawn evenly, the
Banzhaf values (Hammer and Holzman 1992). Pairs cancel all that is even in a game; what is odd and not additive is the
error of a sample. The sizes with the fewest coalitions are taken whole as far as the budget allows, the others drawn,
each about as often as its coalitions have leverage (Musco and Witter 2024, arXiv:2410.01917: each size as often).

What a feature adds mostly changes with how many others are there. So the regression has a second column a feature,
d_i (t^2 - c) with t the mean of d: a game of features and of threes of them, whose values are known in closed form, so
that it takes error away and adds no bias. Its coefficients are held back by a ridge, those of d are free as soon as
there are five pairs a feature; up to there `.believed` hands over to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from enodo.core.game import Game
from enodo.core.streams import Streams

from .believed import believed
from .every import lifted
from .laws import Columns, Law

SINGULAR = 1e-10  # relative, of what is no more than rounding
ENOUGH = 5  # pairs a feature from which on values are not believed but measured
ROUNDING = 10  # units in the last place by which scores of an additive game may be off
BLOCK = 1 << 22  # numbers of a block of coalitions at work


@dataclass(frozen=True)
class Plan:
    """Which coalitions a budget of pairs buys; of each pair the smaller one is meant."""

    whole: Tensor  # (e, n), bool: coalitions of the sizes that are taken whole
    weights: Tensor  # (e,): theirs, of a law that sums to one
    sizes: Tensor  # the sizes that are drawn,
    chances: Tensor  # how often each is,
    steps: Tensor  # where in [0, 1) one size gives way to the next,
    worth: Tensor  # and what a coalition of it then weighs, on average the share of the law that is drawn
    decks: tuple[Tensor | None, ...]  # all coalitions of each, (count, n), where one drawn blindly may well come twice

    @staticmethod
    @lru_cache(maxsize=32)
    def of(law: Law, n: int, pairs: int) -> Plan:
        """Sizes taken whole while the pairs left would meet each of their coalitions once or more."""
        share, often, left, taken = law.share(n), law.often(n), pairs, 0
        share = share / share.sum()
        counts = [math.comb(n, s) // (1 + (2 * s == n)) for s in range(law.least, n // 2 + 1)]
        everything = sum(counts) <= pairs
        tail = often.flip(0).cumsum(0).flip(0).tolist()
        while taken < len(counts) and (everything or left * often[taken].item() >= counts[taken] * tail[taken]):
            left -= counts[taken]
            taken += 1
        whole = [_of_size(n, s) for s in range(law.least, law.least + taken)]
        weights = [(share[i] / len(z)).expand(len(z)) for i, z in enumerate(whole)]
        chances = often[taken:] / often[taken:].sum()
        drawn = torch.arange(law.least + taken, n // 2 + 1)
        joined = torch.cat([_none(n), *whole]), torch.cat([share[:0], *weights])
        steps = chances.cumsum(0)[:-1].to(torch.float32)
        # a deck is shuffled for no more random numbers than drawing blindly takes
        few = [count <= chance * left * n for count, chance in zip(counts[taken:], chances.tolist(), strict=True)]
        decks = tuple(_of_size(n, s) if f else None for s, f in zip(drawn.tolist(), few, strict=True))
        return Plan(*joined, drawn, chances, steps, share[taken:] / chances, decks)


def _none(n: int) -> Tensor:
    return torch.zeros(0, n, dtype=torch.bool)


def _of_size(n: int, size: int) -> Tensor:
    """Every coalition of a size, (count, n); of half the features, one of each pair."""
    z, last = _none(n).new_zeros(1, n), torch.tensor([-1])
    for _ in range(size):
        row, last = (torch.arange(n) > last[:, None]).nonzero(as_tuple=True)
        z = z[row].scatter_(1, last[:, None], True)
    return z[z[:, 0]] if size and 2 * size == n else z


class Pairs:
    """The estimate of the values of features under a law from pairs."""

    cost = 2
    freedom = math.inf

    def __init__(self, game: Game, law: Law, plan: Plan, streams: Streams | None = None) -> None:
        self.game, self.law, self.plan, self.streams = game, law, plan, streams or game.q.streams
        self.columns, self.details = Columns.of(law, game.n), dict[str, Tensor]()
        self.known: Tensor | None = None  # (2, e, T, B): scores of the coalitions taken whole and of their complements
        self.drawn: list[Tensor] = []  # coalitions (m, B, n), bool
        self.kinds: list[Tensor] = []  # which of the sizes drawn each is of, (B, m)
        self.chance: list[Tensor] = []  # the part of its variance that is left beside blind draws, (B, m)
        self.seen: list[Tensor] = []  # their scores, (2, m, T, B)

    def more(self, units: int) -> None:
        """Evaluate this many pairs more, those taken whole first."""
        plan, rows = self.plan, self.game.q.rows
        whole = plan.whole if self.known is None else plan.whole[:0]
        units -= len(whole)
        if units <= 0 or not len(plan.sizes):
            self.known = self._scores(whole) if self.known is None else self.known
            return
        # sizes at even steps through their law, so that each comes as often as it should
        at = (torch.arange(units) + self.streams.uniforms(1)) / units  # (B, m)
        kind = torch.searchsorted(plan.steps, at, right=True)
        z, chance = self._draw(kind)
        z = z.movedim(0, 1)
        scores = self._scores(torch.cat([whole[:, None].expand(-1, rows, -1), z]))
        self.known = scores[:, : len(whole)] if self.known is None else self.known
        self.drawn.append(z)
        self.kinds.append(kind)
        self.chance.append(chance)
        self.seen.append(scores[:, len(whole) :])

    def _draw(self, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Coalitions of these sizes, (B, m, n), none of a deck twice before all of it; their chance, (B, m)."""
        z = self.streams.orders(kind.shape[1], self.game.n) < self.plan.sizes[kind][..., None]
        chance = torch.ones(kind.shape, dtype=self.plan.worth.dtype)
        for k, deck in enumerate(self.plan.decks):
            if deck is not None:
                here = kind == k
                turn, count = here.cumsum(1) - 1, here.sum(1, keepdim=True)
                dealt = self.streams.orders(1, len(deck))[:, 0].gather(1, turn.clamp(min=0) % len(deck))
                z[here] = deck[dealt[here]]
                # rounds through all of a deck leave nothing to chance, and the last leaves what it does not reach
                over = count % len(deck)
                chance = torch.where(here, over / count * (1 - over / len(deck)), chance)
        return z, chance

    def _scores(self, z: Tensor) -> Tensor:
        """Of coalitions (k, n) or (k, B, n) and of their complements: (2, k, T, B)."""
        k = len(z)

        def make(i: int, j: int) -> Tensor:
            return torch.cat([z[i : min(j, k)], ~z[max(i - k, 0) : max(j - k, 0)]])

        found = [lifted(s) for _, _, s in self.game.stream(2 * k, make, empty=True)]
        whole = torch.cat(found or [lifted(self.game.full, 0)[None][:0]])
        return whole.view(2, k, *whole.shape[1:])

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n)."""
        gap, n, fixed = lifted(self.game.full, 0) - lifted(self.game.empty, 0), self.game.n, self.law.fixed
        mean = (gap / n)[..., None] if fixed else gap.new_zeros(1, 1, 1)
        pairs = self.count + len(self.plan.whole)
        measured = min(max((pairs / n - 1) / (ENOUGH - 1), 0), 1) ** 2 if self.count else 1.0
        if measured < 1:
            few, unsure = self._believed(gap)
            if not measured:
                return mean + few, unsure
        blocks = Again(lambda: self._blocks(gap), pairs * gap.shape[1] * n <= BLOCK)
        normal, right = gap.new_zeros(gap.shape[1], 2 * n, 2 * n), gap.new_zeros(*gap.mT.shape, 2 * n)
        for c, y, _ in blocks:
            normal += c.mT @ c
            right += y @ c
        inverted = self._inverse(normal, pairs)
        solving = inverted @ self.columns.values.to(gap.device)
        total = gap.new_zeros(*gap.mT.shape, n)
        if self.count:
            found = right @ inverted
            for c, y, chance in blocks:
                # every coalition may have a residual of its own size (White 1980)
                rest = y - found @ c.mT
                total += (rest.square() * chance[:, None]) @ (c @ solving).square()
            # residuals are shrunk by their own coalitions, of which each has about the same leverage (HC3 otherwise)
            total /= (1 - (inverted * normal).sum((-2, -1), keepdim=True) / pairs).clamp(min=1e-3).square()
        values, stderr = (right @ solving).movedim(0, 1), total.sqrt_().movedim(0, 1)
        if measured < 1:  # the errors go together, so they are added as they are
            values, stderr = few.lerp(values, measured), unsure.lerp(stderr, measured)
        return mean + values, stderr

    def _inverse(self, normal: Tensor, pairs: int) -> Tensor:
        """Of normal equations (B, 2 n, 2 n) of so many pairs: with the ridge, and among games whose values sum to 0."""
        inverted = inverse(normal + self.columns.held.to(normal.device) / pairs)
        if not self.law.fixed:
            return inverted
        sums = self.columns.values.sum(-1).to(normal.device)
        along = inverted @ sums
        return inverted - along[..., None] * (along / (along @ sums)[:, None])[:, None]

    @property
    def count(self) -> int:
        """How many pairs were drawn."""
        return sum(map(len, self.drawn))

    def _blocks(self, gap: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Equations c a = y, (B, k, 2 n) and (B, T, k), the fixed sum taken out of y; and chance, (B, k).

        The columns c are d, and d as it bends with the size of the coalition; rows are times the root of their weight.
        """
        rows, n = gap.shape[1], self.game.n
        z = torch.cat([self.plan.whole[:, None].expand(-1, rows, -1), *self.drawn])
        v = torch.cat([t for t in (self.known, *self.seen) if t is not None], 1)
        each = [self.plan.weights.expand(rows, -1), *(self.plan.worth[kind] / self.count for kind in self.kinds)]
        y, root = (v[0] - v[1]).permute(2, 1, 0), torch.cat(each, 1).sqrt_().to(gap.device)
        chance = torch.cat([torch.zeros_like(self.plan.weights).expand(rows, -1), *self.chance], 1).to(gap.device)
        size = max(1, BLOCK // (rows * n))
        for i in range(0, len(z), size):
            some = slice(i, i + size)
            d = z[some].movedim(0, 1).to(gap.device, gap.dtype).mul_(2).sub_(1)
            level, weight, left = d.mean(-1), root[:, some], y[..., some]
            if self.law.fixed:
                left = left - gap.mT[..., None] * level[:, None]
            scale = torch.stack([weight, weight * (level.square() - self.columns.bend)], -1)
            c = (d[:, :, None] * scale[..., None]).flatten(2)
            yield c, left * weight[:, None], chance[:, some]

    def _believed(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """What values are beside equal ones, and their standard errors, (T, B, n), by columns that do not bend."""
        found = list(self._blocks(gap))
        a = torch.cat([c[..., : self.game.n] for c, _, _ in found], 1)
        if self.law.fixed:
            a = a - a.mean(-1, keepdim=True)
        rounding = ROUNDING * torch.finfo(self.game.full.dtype).eps
        return believed(a, torch.cat([y for _, y, _ in found], -1), self.law.fixed, rounding)

    def keep(self, game: Game, rows: Tensor) -> Pairs:
        """The same estimate for some of the rows."""
        some = Pairs(game, self.law, self.plan, self.streams.take(rows))
        some.kinds, some.chance = ([t[rows] for t in ts] for ts in (self.kinds, self.chance))
        some.known = None if self.known is None else self.known[..., rows]
        some.drawn, some.seen = [z[:, rows] for z in self.drawn], [v[..., rows] for v in self.seen]
        return some


class Again:
    """What `make` gives, as often as it is asked for; kept where that is little."""

    def __init__(self, make: Callable[[], Iterator[Any]], keep: bool) -> None:
        self.make, self.kept = make, list(make()) if keep else None

    def __iter__(self) -> Iterator[Any]:
        return self.make() if self.kept is None else iter(self.kept)


def inverse(a: Tensor) -> Tensor:
    """Of symmetric matrices (B, n, n) that are not negative; the pseudoinverse where there is none."""
    factor, bad = torch.linalg.cholesky_ex(a)
    size = factor.diagonal(dim1=-2, dim2=-1)
    low, high = size.aminmax(dim=-1)
    if bool(((bad == 0) & (low > SINGULAR**0.5 * high)).all()):
        return torch.cholesky_inverse(factor)
    size, basis = torch.linalg.eigh(a)
    counts = size > SINGULAR * size.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / size, 0)[:, None]
    found: Tensor = scaled @ basis.mT
    return found
