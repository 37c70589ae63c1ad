"""Values as the additive game closest to a game: weighted least squares over coalitions, in pairs with complements.

For a coalition z and its complement, with d = 2 z - 1 and y = v(z) - v(complement), the values a minimise the mean of
(d a - y)^2 under a law for the size of coalitions. Under the Shapley kernel, with the sum of the values held at
v(all) - v(none), they are the Shapley values (Lundberg and Lee 2017, theorem 2); under coalitions drawn evenly, the
Banzhaf values (Hammer and Holzman 1992). Pairs cancel all that is even in a game; what is odd and not additive is the
error of a sample. The sizes with the fewest coalitions are taken whole as far as the budget allows, the others drawn.
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


@dataclass(frozen=True)
class Plan:
    """Which coalitions a budget of pairs buys; of each pair the smaller one is meant."""

    whole: Tensor  # (e, n), bool: coalitions of the sizes that are taken whole
    weights: Tensor  # (e,): theirs, of a law that sums to one
    sizes: Tensor  # the sizes that are drawn,
    chances: Tensor  # how often each is,
    rest: float  # and their share of the law

    @staticmethod
    @lru_cache(maxsize=32)
    def of(law: Callable[[int], Tensor], n: int, pairs: int, least: int) -> Plan:
        """`law(n)`, (n // 2 - least + 1,), says how much the pairs of each size from `least` count."""
        share, left, taken = law(n), pairs, 0
        share = share / share.sum()
        counts = [math.comb(n, s) // (1 + (2 * s == n)) for s in range(least, n // 2 + 1)]
        everything = sum(counts) <= pairs
        tail = share.flip(0).cumsum(0).flip(0).tolist()
        while taken < len(counts) and (everything or left * share[taken].item() >= counts[taken] * tail[taken]):
            left -= counts[taken]
            taken += 1
        sizes = range(least, least + taken)
        whole = [_of_size(n, s) for s in sizes]
        weights = [(share[i] / len(z)).expand(len(z)) for i, z in enumerate(whole)]
        rest = tail[taken] if taken < len(tail) else 0.0
        chances = share[taken:] / rest if rest else share[:0]
        drawn = torch.arange(least + taken, n // 2 + 1)
        return Plan(torch.cat([_none(n), *whole]), torch.cat([share[:0], *weights]), drawn, chances, rest)


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


class Pairs:
    """The estimate of the values of features from pairs; `fixed` holds their sum."""

    cost = 2

    def __init__(self, game: Game, plan: Plan, fixed: bool, streams: Streams | None = None) -> None:
        self.game, self.plan, self.fixed, self.streams = game, plan, fixed, streams or game.q.streams
        self.details: dict[str, Tensor] = {}
        self.known: Tensor | None = None  # (2, e, T, B): scores of the coalitions taken whole and of their complements
        self.drawn: list[Tensor] = []  # coalitions (m, B, n), bool
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
        size = torch.searchsorted(plan.chances.cumsum(0)[:-1].to(at.dtype).contiguous(), at.contiguous(), right=True)
        size = plan.sizes[size]
        order = self.streams.uniforms(units, n).argsort(-1)
        members = torch.arange(n) < size[..., None]
        z = torch.zeros(order.shape, dtype=torch.bool).scatter_(-1, order, members).movedim(0, 1)
        scores = self._scores(torch.cat([whole[:, None].expand(-1, rows, -1), z]))
        self.known = scores[:, : len(whole)] if self.known is None else self.known
        self.drawn.append(z)
        self.seen.append(scores[:, len(whole) :])

    def _scores(self, z: Tensor) -> Tensor:
        """Of coalitions (k, n) or (k, B, n) and of their complements: (2, k, T, B)."""
        k = len(z)

        def make(i: int, j: int) -> Tensor:
            return torch.cat([z[i : min(j, k)], ~z[max(i - k, 0) : max(j - k, 0)]])

        found = [lifted(s) for _, _, s in self.game.stream(2 * k, make, empty=True)]
        whole = torch.cat([lifted(self.game.full, 0)[None][:0], *found])
        return whole.view(2, k, *whole.shape[1:])

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n)."""
        gap, n = lifted(self.game.full, 0) - lifted(self.game.empty, 0), self.game.n
        mean = (gap / n)[..., None] if self.fixed else gap.new_zeros(1, 1, 1)
        if self.count and self.count + len(self.plan.whole) < n:
            part, rank = self._interpolated(gap)
            # that many of the directions were looked along, and what lies along the others is not known
            unknown = ((n - self.fixed + 1 - rank) / rank.clamp(min=1) / n).sqrt()
            return mean + part, part.norm(dim=-1, keepdim=True).expand_as(part) * unknown[:, None]
        blocks = Again(lambda: self._blocks(gap), (self.count + len(self.plan.whole)) * gap.shape[1] * n <= BLOCK)
        level = gap.new_full((n, n), self.fixed / n)  # what is fixed is taken out of the equations
        normal, right = level, gap.new_zeros(*gap.shape, n)
        for d, y, w, _ in blocks:
            weighted = d * w[..., None]
            normal = normal + weighted.mT @ d
            right = right + (y[..., None, :] @ weighted)[..., 0, :]
        inverted = inverse(normal.expand(gap.shape[1], n, n)) - level
        part = (inverted @ right[..., None])[..., 0]
        total = torch.zeros_like(part)
        if self.count:
            for d, y, w, drawn in blocks:
                # every coalition may have a residual of its own size (White 1980, in the form HC3)
                pull = (d * (w * drawn)[..., None]) @ inverted
                own = (pull * d).sum(-1)  # how much a residual is shrunk by its own coalition
                rest = (y - (d @ part[..., None])[..., 0]) / (1 - own).clamp(min=1e-3)
                total = total + (rest.square()[..., None, :] @ pull.square())[..., 0, :]
        return mean + part, total.sqrt()

    @property
    def count(self) -> int:
        """How many pairs were drawn."""
        return sum(map(len, self.drawn))

    def _blocks(self, gap: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Equations d a = y, (B, k, n) and (T, B, k), the fixed sum taken out; weights, and 1 if drawn, (1, k)."""
        rows, n = gap.shape[1], self.game.n
        share = torch.full((1,), self.plan.rest / max(self.count, 1), dtype=torch.float64)
        w = torch.cat([self.plan.weights, share.expand(self.count)]).to(gap.device)
        z = torch.cat([self.plan.whole[:, None].expand(-1, rows, -1), *self.drawn])
        v = torch.cat([t for t in (self.known, *self.seen) if t is not None], 1)
        size = max(1, BLOCK // (rows * n))
        for i in range(0, len(z), size):
            d = (2 * z[i : i + size].to(gap.device, torch.float64) - 1).movedim(0, 1)
            y = (v[0, i : i + size] - v[1, i : i + size]).movedim(0, -1)
            if self.fixed:
                level = d.mean(-1, keepdim=True)
                d, y = d - level, y - gap[..., None] * level[..., 0]
            at = torch.arange(i, i + d.shape[1], device=gap.device)
            yield d, y, w[None, i : i + size], (at >= len(self.plan.whole)).to(d.dtype)[None]

    def _interpolated(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Fewer pairs than features: of all that fit them the values nearest to equal ones; and their rank, (B, 1)."""
        found = list(self._blocks(gap))
        a = torch.cat([d * w.sqrt()[..., None] for d, _, w, _ in found], 1)
        y = torch.cat([y * w.sqrt() for _, y, w, _ in found], -1)
        inverted, rank = _pseudoinverse(a @ a.mT)
        return torch.einsum("bkn,bkj,tbj->tbn", a, inverted, y), rank[:, None]

    def keep(self, game: Game, rows: Tensor) -> Pairs:
        """The same estimate for some of the rows."""
        some = Pairs(game, self.plan, self.fixed, self.streams.take(rows))
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
    """Of symmetric matrices (B, n, n); the pseudoinverse where there is none."""
    found, bad = torch.linalg.inv_ex(a)
    size = found.abs().amax((-2, -1)) * a.abs().amax((-2, -1))
    return found if not bad.any() and bool((size < 1 / SINGULAR).all()) else _pseudoinverse(a)[0]


def _pseudoinverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of symmetric matrices (B, n, n), with their ranks (B,)."""
    size, basis = torch.linalg.eigh(a)
    counts = size > SINGULAR * size.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / size, 0)[:, None]
    return scaled @ basis.mT, counts.sum(-1)
