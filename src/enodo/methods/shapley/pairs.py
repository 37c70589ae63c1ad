"""Values as the additive game closest to a game: weighted least squares over coalitions, in pairs with complements.

For a coalition z and its complement, with d = 2 z - 1 and y = v(z) - v(complement), the values a minimise the mean of
(d a - y)^2 under a law for the size of coalitions. Under the Shapley kernel, with the sum of the values held at
v(all) - v(none), they are the Shapley values (Lundberg and Lee 2017, theorem 2); under coalitions drawn evenly, the
Banzhaf values (Hammer and Holzman 1992). Pairs cancel all that is even in a game; what is odd and not additive is the
error of a sample. The sizes with the fewest coalitions are taken whole as far as the budget allows, the others drawn,
each about as often as its coalitions have leverage (Musco and Witter 2024, arXiv:2410.01917: each size as often).

What a feature adds mostly changes with how many others are there. So the regression has a second column a feature,
d_i (t^2 - c) with t the mean of d: a game of features and of threes of them, whose values are known in closed form, so
that it takes error away and adds no bias. Its coefficients are held back by a ridge, those of d are free.
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

from .every import lifted

SINGULAR = 1e-10  # relative, of what is no more than rounding
BLOCK = 1 << 22  # numbers of a block of coalitions at work
RIDGE = 10.0  # how many pairs it takes to believe in as much bending as there is


@dataclass(frozen=True)
class Plan:
    """Which coalitions a budget of pairs buys; of each pair the smaller one is meant."""

    whole: Tensor  # (e, n), bool: coalitions of the sizes that are taken whole
    weights: Tensor  # (e,): theirs, of a law that sums to one
    sizes: Tensor  # the sizes that are drawn,
    chances: Tensor  # how often each is,
    worth: Tensor  # and what a coalition of it then weighs, on average the share of the law that is drawn
    decks: tuple[Tensor | None, ...]  # all coalitions of each, (count, n), where one drawn blindly may well come twice
    bend: float  # the mean under the law of t^2, t being the mean of d

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
        t = 1 - 2 * torch.arange(law.least, n // 2 + 1, dtype=share.dtype) / n
        bend = float((share * t.square()).sum())
        joined = torch.cat([_none(n), *whole]), torch.cat([share[:0], *weights])
        # a deck is shuffled for no more random numbers than drawing blindly takes
        few = [count <= chance * left * n for count, chance in zip(counts[taken:], chances.tolist(), strict=True)]
        decks = tuple(_of_size(n, s) if f else None for s, f in zip(drawn.tolist(), few, strict=True))
        return Plan(*joined, drawn, chances, share[taken:] / chances, decks, bend)


def _none(n: int) -> Tensor:
    return torch.zeros(0, n, dtype=torch.bool)


def _of_size(n: int, size: int) -> Tensor:
    """Every coalition of a size, (count, n); of half the features, one of each pair."""
    z, last = _none(n).new_zeros(1, n), torch.tensor([-1])
    for _ in range(size):
        row, last = (torch.arange(n) > last[:, None]).nonzero(as_tuple=True)
        z = z[row].scatter_(1, last[:, None], True)
    return z[z[:, 0]] if size and 2 * size == n else z


def kernel_law(n: int) -> Tensor:
    """The Shapley kernel of pairs whose smaller coalition has 1 to n // 2 members."""
    s = torch.arange(1, n // 2 + 1, dtype=torch.float64)
    return 1 / (s * (n - s)) / (1 + (2 * s == n).to(s.dtype))


def even_law(n: int) -> Tensor:
    """The share of pairs whose smaller coalition has 0 to n // 2 members, among all."""
    counts = [math.comb(n, s) / (1 + (2 * s == n)) for s in range(n // 2 + 1)]
    return torch.tensor([c / 2 ** (n - 1) for c in counts], dtype=torch.float64)


def even_sizes(n: int) -> Tensor:
    """Each size from 1 to n - 1 as often as any other, which is how much leverage its coalitions have together."""
    s = torch.arange(1, n // 2 + 1, dtype=torch.float64)
    return 1 / (1 + (2 * s == n).to(s.dtype))


@dataclass(frozen=True)
class Law:
    """How much coalitions count, by the size of the smaller of a pair, from `least` to n // 2."""

    share: Callable[[int], Tensor]  # of each size in the mean that is minimised
    often: Callable[[int], Tensor]  # how often it is drawn, up to a factor
    least: int
    fixed: bool  # whether the sum of the values is held
    third: float  # what each of three features gets of a game d_i d_j d_k


SHAPLEY = Law(kernel_law, even_sizes, least=1, fixed=True, third=1 / 3)
BANZHAF = Law(even_law, even_law, least=0, fixed=False, third=0.0)


class Pairs:
    """The estimate of the values of features under a law from pairs."""

    cost = 2

    def __init__(self, game: Game, law: Law, plan: Plan, streams: Streams | None = None) -> None:
        self.game, self.law, self.plan, self.streams = game, law, plan, streams or game.q.streams
        self.details: dict[str, Tensor] = {}
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
        kind = torch.searchsorted(plan.chances.cumsum(0)[:-1].to(at.dtype).contiguous(), at.contiguous(), right=True)
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
        z = self.streams.uniforms(kind.shape[1], self.game.n).argsort(-1) < self.plan.sizes[kind][..., None]
        chance = torch.ones(kind.shape, dtype=self.plan.worth.dtype)
        for k, deck in enumerate(self.plan.decks):
            if deck is not None:
                here = kind == k
                turn, count = here.cumsum(1) - 1, here.sum(1, keepdim=True)
                dealt = self.streams.uniforms(len(deck)).argsort(-1).gather(1, turn.clamp(min=0) % len(deck))
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
        if self.count and pairs < n:
            part, rank = self._interpolated(gap)
            # that many of the directions were looked along, and what lies along the others is not known
            unknown = ((n - fixed + 1 - rank) / rank.clamp(min=1) / n).sqrt()
            return mean + part, part.norm(dim=-1, keepdim=True).expand_as(part) * unknown[:, None]
        blocks = Again(lambda: self._blocks(gap), pairs * gap.shape[1] * n <= BLOCK)
        normal, right = gap.new_zeros(gap.shape[1], 2 * n, 2 * n), gap.new_zeros(*gap.shape, 2 * n)
        for c, y, w, _ in blocks:
            weighted = c * w[..., None]
            normal += weighted.mT @ c
            right += (y[..., None, :] @ weighted)[..., 0, :]
        held = normal.clone()
        bends = held.diagonal(dim1=-2, dim2=-1)[:, n:]
        bends += RIDGE / pairs * bends.mean(-1, keepdim=True)
        held[:, :n, :n] += fixed / n  # what is fixed is taken out of the equations
        inverted = inverse(held)
        inverted[:, :n, :n] -= fixed / n
        found = (inverted @ right[..., None])[..., 0]
        total = gap.new_zeros(*gap.shape, n)
        if self.count:
            known = self._values(inverted)
            for c, y, w, chance in blocks:
                # every coalition may have a residual of its own size (White 1980)
                rest = (y - (c @ found[..., None])[..., 0]) * w
                total += ((rest.square() * chance)[..., None, :] @ (c @ known).square())[..., 0, :]
            # residuals are shrunk by their own coalitions, of which each has about the same leverage (HC3 otherwise)
            total /= (1 - (inverted * normal).sum((-2, -1)) / pairs).clamp(min=1e-3).square()[:, None]
        return mean + self._values(found), total.sqrt()

    def _values(self, coefficients: Tensor) -> Tensor:
        """The values of features in the games that the columns stand for: (..., 2 n) -> (..., n)."""
        n, third = self.game.n, self.law.third
        plain, bent = coefficients[..., :n], coefficients[..., n:]
        alone = (n - 2) * (1 + third * (n - 3)) / n**2 - self.plan.bend
        shared = (2 + 2 * third * (n - 2)) / n**2
        less = alone / n if self.law.fixed else -shared  # the sum of the values is what is taken out
        return plain + alone * bent - less * bent.sum(-1, keepdim=True)

    @property
    def count(self) -> int:
        """How many pairs were drawn."""
        return sum(map(len, self.drawn))

    def _blocks(self, gap: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Equations c a = y, (B, k, 2 n) and (T, B, k), the fixed sum taken out; weights and chance, (B, k).

        The columns c are d, and d as it bends with the size of the coalition.
        """
        rows, n, bend = gap.shape[1], self.game.n, self.plan.bend
        z = torch.cat([self.plan.whole[:, None].expand(-1, rows, -1), *self.drawn])
        v = torch.cat([t for t in (self.known, *self.seen) if t is not None], 1)
        each = [self.plan.weights.expand(rows, -1), *(self.plan.worth[kind] / self.count for kind in self.kinds)]
        y, w = (v[0] - v[1]).movedim(0, -1), torch.cat(each, 1).to(gap.device)
        chance = torch.cat([torch.zeros_like(self.plan.weights).expand(rows, -1), *self.chance], 1).to(gap.device)
        size = max(1, BLOCK // (rows * n))
        for i in range(0, len(z), size):
            some = slice(i, i + size)
            d = (2 * z[some].to(gap.device, gap.dtype) - 1).movedim(0, 1)
            level = d.mean(-1, keepdim=True)
            bent = d * (level.square() - bend)
            left = y[..., some]
            if self.law.fixed:
                d, bent, left = d - level, bent - level * (1 - bend), left - gap[..., None] * level[..., 0]
            yield torch.cat([d, bent], -1), left, w[:, some], chance[:, some]

    def _interpolated(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Fewer pairs than features: of all that fit them the values nearest to equal ones; and their rank, (B, 1)."""
        found = list(self._blocks(gap))
        a = torch.cat([c[..., : self.game.n] * w.sqrt()[..., None] for c, _, w, _ in found], 1)
        y = torch.cat([y * w.sqrt() for _, y, w, _ in found], -1)
        inverted, rank = _pseudoinverse(a @ a.mT)
        return torch.einsum("bkn,bkj,tbj->tbn", a, inverted, y), rank[:, None]

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
    low, high = size.amin(-1), size.amax(-1)
    if bool(((bad == 0) & (low.square() > SINGULAR * high.square())).all()):
        return torch.cholesky_inverse(factor)
    return _pseudoinverse(a)[0]


def _pseudoinverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of symmetric matrices (B, n, n), with their ranks (B,)."""
    size, basis = torch.linalg.eigh(a)
    counts = size > SINGULAR * size.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / size, 0)[:, None]
    return scaled @ basis.mT, counts.sum(-1)
