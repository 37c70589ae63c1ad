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
from functools import cached_property, lru_cache
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
    steps: Tensor  # where in [0, 1) one size gives way to the next,
    worth: Tensor  # and what a coalition of it then weighs, on average the share of the law that is drawn

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
        return Plan(*joined, drawn, chances, steps, share[taken:] / chances)


def _none(n: int) -> Tensor:
    return torch.zeros(0, n, dtype=torch.bool)


def _of_size(n: int, size: int) -> Tensor:
    """Every coalition of a size, (count, n); of half the features, one of each pair."""
    members = torch.combinations(torch.arange(n), size) if size else torch.zeros(1, 0, dtype=torch.long)
    if size and 2 * size == n:
        members = members[members[:, 0] == 0]
    return torch.zeros(len(members), n, dtype=torch.bool).scatter_(1, members, True)


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


class Columns:
    """The columns of the regression, games d_i and d_i (t^2 - bend) of n features, t being the mean of d."""

    def __init__(self, law: Law, n: int) -> None:
        self.law, self.n = law, n
        self.share = law.share(n) / law.share(n).sum()
        t = 1 - 2 * torch.arange(law.least, n // 2 + 1, dtype=torch.float64) / n
        self.square = t.square()
        self.bend = float((self.share * self.square).sum())  # the mean of t^2

    @staticmethod
    @lru_cache(maxsize=4)
    def of(law: Law, n: int) -> Columns:
        """Those of a law, made once."""
        return Columns(law, n)

    @cached_property
    def values(self) -> Tensor:
        """What features get in these games, (2 n, n)."""
        n, third = self.n, self.law.third
        own = (n - 2) * (1 + third * (n - 3)) / n**2 - self.bend
        alone = torch.eye(n, dtype=torch.float64)
        return torch.cat([alone, own * alone + (2 + 2 * third * (n - 2)) / n**2])

    @cached_property
    def held(self) -> Tensor:
        """What is added to the sum of the equations of all pairs, (2 n, 2 n): the ridge, and a sum that is fixed.

        The ridge is as large as the mean square of a second column, less what of it is in a fixed sum.
        """
        bent, total = self.square - self.bend, self.law.fixed * (1 - self.bend)
        ridge = RIDGE * (self.share * (bent.square() + total * (total - 2 * bent) * self.square)).sum()
        sums = self.values.sum(-1) * self.law.fixed
        return sums * sums[:, None] + torch.cat([ridge.new_zeros(self.n), ridge.expand(self.n)]).diag()


SHAPLEY = Law(kernel_law, even_sizes, least=1, fixed=True, third=1 / 3)
BANZHAF = Law(even_law, even_law, least=0, fixed=False, third=0.0)


class Pairs:
    """The estimate of the values of features under a law from pairs."""

    cost = 2

    def __init__(self, game: Game, law: Law, plan: Plan, streams: Streams | None = None) -> None:
        self.game, self.law, self.plan, self.streams = game, law, plan, streams or game.q.streams
        self.columns, self.details = Columns.of(law, game.n), dict[str, Tensor]()
        self.known: Tensor | None = None  # (2, e, T, B): scores of the coalitions taken whole and of their complements
        self.drawn: list[Tensor] = []  # coalitions (m, B, n), bool
        self.kinds: list[Tensor] = []  # which of the sizes drawn each is of, (B, m)
        self.seen: list[Tensor] = []  # their scores, (2, m, T, B)

    def more(self, units: int) -> None:
        """Evaluate this many pairs more, those taken whole first."""
        plan, n, rows = self.plan, self.game.n, self.game.q.rows
        whole = plan.whole if self.known is None else plan.whole[:0]
        units -= len(whole)
        if units <= 0 or not len(plan.sizes):
            self.known = self._scores(whole) if self.known is None else self.known
            return
        # sizes at even steps through their law, so that each comes as often as it should
        at = (torch.arange(units) + self.streams.uniforms(1)) / units  # (B, m)
        kind = torch.searchsorted(plan.steps, at, right=True)
        z = (self.streams.orders(units, n) < plan.sizes[kind][..., None]).movedim(0, 1)
        scores = self._scores(torch.cat([whole[:, None].expand(-1, rows, -1), z]))
        self.known = scores[:, : len(whole)] if self.known is None else self.known
        self.drawn.append(z)
        self.kinds.append(kind)
        self.seen.append(scores[:, len(whole) :])

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
        normal, right = gap.new_zeros(gap.shape[1], 2 * n, 2 * n), gap.new_zeros(*gap.mT.shape, 2 * n)
        for c, y, _ in blocks:
            normal += c.mT @ c
            right += y @ c
        inverted = self._inverse(normal, pairs)
        solving = inverted @ self.columns.values.to(gap.device)
        total = gap.new_zeros(*gap.mT.shape, n)
        if self.count:
            found = right @ inverted
            for c, y, whole in blocks:
                # every coalition may have a residual of its own size (White 1980)
                rest = y[..., whole:] - found @ c[:, whole:].mT
                total += rest.square() @ (c[:, whole:] @ solving).square()
            # residuals are shrunk by their own coalitions, of which each has about the same leverage (HC3 otherwise)
            total /= (1 - (inverted * normal).sum((-2, -1), keepdim=True) / pairs).clamp(min=1e-3).square()
        return mean + (right @ solving).movedim(0, 1), total.sqrt().movedim(0, 1)

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

    def _blocks(self, gap: Tensor) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Equations c a = y, (B, k, 2 n) and (B, T, k), the fixed sum taken out of y; and how many are taken whole.

        The columns c are d, and d as it bends with the size of the coalition; rows are times the root of their weight.
        """
        rows, n = gap.shape[1], self.game.n
        z = torch.cat([self.plan.whole[:, None].expand(-1, rows, -1), *self.drawn])
        v = torch.cat([t for t in (self.known, *self.seen) if t is not None], 1)
        each = [self.plan.weights.expand(rows, -1), *(self.plan.worth[kind] / self.count for kind in self.kinds)]
        y, root = (v[0] - v[1]).permute(2, 1, 0), torch.cat(each, 1).sqrt_().to(gap.device)
        size = max(1, BLOCK // (rows * n))
        for i in range(0, len(z), size):
            some = slice(i, i + size)
            d = z[some].movedim(0, 1).to(gap.device, gap.dtype).mul_(2).sub_(1)
            level, weight, left = d.mean(-1), root[:, some], y[..., some]
            if self.law.fixed:
                left = left - gap.mT[..., None] * level[:, None]
            scale = torch.stack([weight, weight * (level.square() - self.columns.bend)], -1)
            c = (d[:, :, None] * scale[..., None]).flatten(2)
            yield c, left * weight[:, None], max(0, len(self.plan.whole) - i)

    def _interpolated(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Fewer pairs than features: of all that fit them the values nearest to equal ones; and their rank, (B, 1)."""
        found = list(self._blocks(gap))
        a = torch.cat([c[..., : self.game.n] for c, _, _ in found], 1)
        if self.law.fixed:
            a = a - a.mean(-1, keepdim=True)
        inverted, rank = _pseudoinverse(a @ a.mT)
        y = torch.cat([y for _, y, _ in found], -1)
        return (y @ inverted @ a).movedim(0, 1), rank[:, None]

    def keep(self, game: Game, rows: Tensor) -> Pairs:
        """The same estimate for some of the rows."""
        some = Pairs(game, self.law, self.plan, self.streams.take(rows))
        some.kinds = [kind[rows] for kind in self.kinds]
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
    return _pseudoinverse(a)[0]


def _pseudoinverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of symmetric matrices (B, n, n), with their ranks (B,)."""
    size, basis = torch.linalg.eigh(a)
    counts = size > SINGULAR * size.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / size, 0)[:, None]
    return scaled @ basis.mT, counts.sum(-1)
