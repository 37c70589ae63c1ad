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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from enodo.core.game import Game
from enodo.core.streams import Streams
from enodo.core.values import end_to_end

from .believed import believed
from .every import lifted
from .laws import Array, Columns, Law

SINGULAR = 1e-10  # relative, of what is no more than rounding
ENOUGH = 5  # pairs a feature from which on values are not believed but measured
ROUNDING = 10  # units in the last place by which scores of an additive game may be off
BLOCK = 1 << 22  # numbers of a block of coalitions at work


class Some(NamedTuple):
    """Coalitions of each row, by the smaller of a pair."""

    z: Array  # (B, k, n), bool
    size: Array  # (B, k)
    chance: Array  # (B, k): the part of its variance that is left beside blind draws

    @property
    def each(self) -> int:
        """k, how many each row has."""
        return len(self.size[0])

    @staticmethod
    def joined(parts: Sequence[Some]) -> Some:
        """All of them, end to end."""
        return parts[0] if len(parts) == 1 else Some(*(np.concatenate(ts, 1) for ts in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Plan:
    """Which coalitions a budget of pairs buys; of each pair the smaller one is meant."""

    whole: Some  # of the sizes that are taken whole, the smallest; B is 1
    weights: Array  # by size, from 0: what one of them weighs in a law that sums to one; if drawn, all that are drawn
    chances: Array  # by size: how often it is drawn
    steps: Array  # where in [0, 1) one size that is drawn gives way to the next
    decks: dict[int, Array | None]  # by size: all coalitions, (count, n), where one drawn blindly may well come twice

    @staticmethod
    @lru_cache(maxsize=32)
    def of(law: Law, n: int, pairs: int) -> Plan:
        """Sizes taken whole while the pairs left would meet each of their coalitions once or more."""
        share, often, left = law.share(n), law.often(n), pairs
        sizes = range(law.least, n // 2 + 1)
        counts = [math.comb(n, s) // (1 + (2 * s == n)) for s in sizes]
        everything, tail, taken = sum(counts) <= pairs, often[::-1].cumsum()[::-1].tolist(), 0
        while taken < len(counts) and (everything or left * float(often[taken]) >= counts[taken] * tail[taken]):
            left -= counts[taken]
            taken += 1
        weights, chances = np.zeros((2, n // 2 + 1))
        weights[law.least :] = share / share.sum()
        weights[sizes[:taken]] /= counts[:taken]
        chances[sizes[taken:]] = often[taken:] / often[taken:].sum()
        weights[sizes[taken:]] /= chances[sizes[taken:]].clip(1e-300)
        steps = chances[sizes[taken:]].cumsum()[:-1].astype(np.float32)
        # a deck is shuffled for no more random numbers than drawing blindly takes
        few = [count <= float(chances[s]) * left * n for s, count in zip(sizes, counts, strict=True)]
        decks = {s: _of_size(n, s) if f else None for s, f in zip(sizes[taken:], few[taken:], strict=True)}
        whole = np.concatenate([np.zeros((0, n), bool), *(_of_size(n, s) for s in sizes[:taken])])[None]
        return Plan(Some(whole, whole.sum(-1), np.zeros(whole.shape[:2])), weights, chances, steps, decks)

    def draw(self, streams: Streams, k: int) -> Some:
        """As many others for each row, none of a deck twice before all of it."""
        # sizes at even steps through their law, so that each comes as often as it should
        at = (np.arange(k, dtype=np.float32) + streams.uniforms(1).numpy()) / np.float32(k)  # (B, k)
        size = self.steps.searchsorted(at, "right") + min(self.decks)
        z = streams.orders(k, self.whole.z.shape[-1]).numpy() < size[..., None]
        chance = np.ones(size.shape)
        for s, deck in self.decks.items():
            if deck is None:
                continue
            here = size == s
            count = here.sum(1, keepdims=True)
            turn = np.arange(count.max())
            dealt = streams.orders(1, len(deck)).numpy()[:, 0, turn % len(deck)]
            z[here] = deck[dealt[turn < count]]
            # rounds through all of a deck leave nothing to chance, and the last leaves what it does not reach
            over = count % len(deck)
            chance = np.where(here, over / count.clip(1) * (1 - over / len(deck)), chance)
        return Some(z, size, chance)


def _of_size(n: int, size: int) -> Array:
    """Every coalition of a size, (count, n); of half the features, one of each pair."""
    z, last = np.zeros((1, n), bool), np.array([-1])
    for _ in range(size):
        row, last = (np.arange(n) > last[:, None]).nonzero()
        z = z[row]
        z[np.arange(len(z)), last] = True
    return z[z[:, 0]] if size and 2 * size == n else z


class Pairs:
    """The estimate of the values of features under a law from pairs."""

    cost = 2
    freedom = math.inf

    def __init__(self, game: Game, law: Law, plan: Plan, streams: Streams | None = None) -> None:
        self.game, self.law, self.plan, self.streams = game, law, plan, streams or game.q.streams
        self.columns, self.details = Columns.of(law, game.n), dict[str, Tensor]()
        self.met: list[Some] = []  # those taken whole first
        self.seen: list[Array] = []  # scores of theirs and of their complements, (2, k, T, B)

    def more(self, units: int) -> None:
        """Evaluate this many pairs more, those taken whole first."""
        parts, plan, rows = [], self.plan, self.game.q.rows
        if not self.met:
            parts.append(Some(*(t.repeat(rows, 0) for t in plan.whole)))
            units -= plan.whole.each
        if units > 0 and plan.decks:
            parts.append(plan.draw(self.streams, units))
        if parts:
            self.met.append(Some.joined(parts))
            self.seen.append(self._scores(torch.from_numpy(self.met[-1].z).movedim(0, 1)))

    def _scores(self, z: Tensor) -> Array:
        """Of coalitions (k, B, n) and of their complements: (2, k, T, B)."""
        k = len(z)

        def make(i: int, j: int) -> Tensor:
            return torch.cat([z[i : min(j, k)], ~z[max(i - k, 0) : max(j - k, 0)]])

        found = [lifted(s) for _, _, s in self.game.stream(2 * k, make, empty=True)]
        whole = end_to_end(found or [lifted(self.game.full, 0)[None][:0]])
        scores: Array = whole.view(2, k, *whole.shape[1:]).numpy()
        return scores

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n)."""
        gap = (lifted(self.game.full, 0) - lifted(self.game.empty, 0)).numpy().T[..., None]  # (B, T, 1)
        values, stderr = self._solved(gap)
        mean = gap / self.game.n if self.law.fixed else 0.0
        return torch.from_numpy(mean + values).movedim(0, 1), torch.from_numpy(stderr).movedim(0, 1)

    def _solved(self, gap: Array) -> tuple[Array, Array]:
        """Values, but for an equal share of a fixed sum, and standard errors, (B, T, n)."""
        pairs = self.count + self.plan.whole.each
        share = min(max((pairs / self.game.n - 1) / (ENOUGH - 1), 0), 1) ** 2 if self.count else 1.0
        if not share:
            return self._believed(gap)
        measured = self._measured(gap, pairs)
        if share == 1:
            return measured
        # their errors go together, so standard errors are mixed as the values are
        values, stderr = (share * m + (1 - share) * b for m, b in zip(measured, self._believed(gap), strict=True))
        return values, stderr

    def _measured(self, gap: Array, pairs: int) -> tuple[Array, Array]:
        """By least squares."""
        n = self.game.n
        blocks = Again(lambda: self._equations(gap), pairs * len(gap) * n <= BLOCK)
        moments = reduce(add, (product(e, e.swapaxes(1, 2)) for e, _ in blocks))
        normal, right = moments[:, : 2 * n, : 2 * n], moments[:, 2 * n :, : 2 * n]
        inverted = self._inverse(normal, pairs)
        solving = product(inverted, self.columns.values)
        values = product(right, solving)
        if not self.count:
            return values, np.zeros_like(values)
        found, total = product(right, inverted), np.zeros_like(values)
        for e, chance in blocks:
            # every coalition may have a residual of its own size (White 1980)
            c = e[:, : 2 * n]
            rest, pull = e[:, 2 * n :] - product(found, c), product(solving.swapaxes(1, 2), c)
            total += product(rest**2 * chance[:, None], (pull**2).swapaxes(1, 2))
        # residuals are shrunk by their own coalitions, of which each has about the same leverage (HC3 otherwise)
        left = 1 - (inverted * normal).sum((1, 2), keepdims=True) / pairs
        return values, np.sqrt(total) / left.clip(1e-3)

    def _inverse(self, normal: Array, pairs: int) -> Array:
        """Of normal equations (B, 2 n, 2 n) of so many pairs: with the ridge, and among games whose values sum to 0."""
        inverted: Array = inverse(torch.from_numpy(normal + self.columns.held / pairs)).numpy()
        if self.law.fixed:
            along = product(inverted, self.columns.sums)  # (B, 2 n, 1)
            inverted = inverted - along * (along / (self.columns.sums.T @ along)).swapaxes(1, 2)
        return inverted

    @property
    def count(self) -> int:
        """How many pairs were drawn."""
        return sum(some.each for some in self.met) - self.plan.whole.each

    def _equations(self, gap: Array) -> Iterator[tuple[Array, Array]]:
        """Equations c a = y as (B, 2 n + T, k): c, and y below it, the fixed sum taken out; and chance, (B, k).

        The columns c are d, and d as it bends with the size of the coalition; all are times the root of their weight.
        """
        (z, size, chance), v = Some.joined(self.met), np.concatenate(self.seen, 1)
        y, step = (v[0] - v[1]).transpose(2, 1, 0), max(1, BLOCK // z[:, 0].size)
        weights = self.plan.weights.copy()
        weights[list(self.plan.decks)] /= max(self.count, 1)
        scales = np.sqrt(weights) * self.columns.scales
        for i in range(0, size.shape[1], step):
            some = slice(i, i + step)
            one, bent, level = scales[:, size[:, None, some]]
            d = np.multiply(z[:, some].swapaxes(1, 2), 2.0, order="C") - 1
            yield np.concatenate([d * one, d * bent, y[..., some] * one - gap * level], 1), chance[:, some]

    def _believed(self, gap: Array) -> tuple[Array, Array]:
        """By columns that do not bend, and what the scores tell of their own noise."""
        n, eps = self.game.n, torch.finfo(self.game.full.dtype).eps
        e = np.concatenate([e for e, _ in self._equations(gap)], 2)
        a, y = e[:, :n].swapaxes(1, 2), e[:, 2 * n :]
        if self.law.fixed:
            a = a - a.mean(-1, keepdims=True)
        values, stderr = believed(torch.from_numpy(a), torch.from_numpy(y), self.law.fixed, ROUNDING * eps)
        return values.numpy(), stderr.numpy()

    def keep(self, game: Game, rows: Tensor) -> Pairs:
        """The same estimate for some of the rows."""
        some = Pairs(game, self.law, self.plan, self.streams.take(rows))
        some.met = [Some(*(t[rows.tolist()] for t in met)) for met in self.met]
        some.seen = [v[..., rows.tolist()] for v in self.seen]
        return some


class Again:
    """What `make` gives, as often as it is asked for; kept where that is little."""

    def __init__(self, make: Callable[[], Iterator[Any]], keep: bool) -> None:
        self.make, self.kept = make, list(make()) if keep else None

    def __iter__(self) -> Iterator[Any]:
        return self.make() if self.kept is None else iter(self.kept)


def product(a: Array, b: Array) -> Array:
    """Of matrices (B, i, j) and (B, j, k) or (j, k), by torch: numpy's threads are not told how many they may be."""
    found: Array = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return found


def inverse(a: Tensor) -> Tensor:
    """Of symmetric matrices (B, n, n) that are not negative; the pseudoinverse where there is none."""
    factor, bad = torch.linalg.cholesky_ex(a)
    sizes = factor.diagonal(dim1=-2, dim2=-1).tolist()
    if not any(bad.tolist()) and all(min(size) > SINGULAR**0.5 * max(size) for size in sizes):
        return torch.cholesky_inverse(factor)
    values, basis = torch.linalg.eigh(a)
    counts = values > SINGULAR * values.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / values, 0)[:, None]
    found: Tensor = scaled @ basis.mT
    return found
