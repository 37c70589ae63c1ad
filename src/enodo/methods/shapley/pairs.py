"""Values as the additive game closest to a game: weighted least squares over coalitions, in pairs with complements.

For a coalition z and its complement, with d = 2 z - 1 and y = v(z) - v(complement), the values a minimise the mean of
(d a - y)^2 under a law for the size of coalitions. Under the Shapley kernel, with the sum of the values held at
v(all) - v(none), they are the Shapley values (Lundberg and Lee 2017, theorem 2); under coalitions drawn evenly, the
Banzhaf values (Hammer and Holzman 1992). Pairs cancel all that is even in a game; what is odd and not additive is the
error of a sample. The sizes with the fewest coalitions are taken whole as far as the budget allows, the others drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from enodo.core.game import Game
from enodo.core.streams import Streams

from .every import lifted

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
    def of(law: Tensor, n: int, pairs: int, least: int) -> Plan:
        """`law` (n // 2 - least + 1,) says how much the pairs of each size from `least` count."""
        law, left, taken = law / law.sum(), pairs, 0
        counts = [math.comb(n, s) // (1 + (2 * s == n)) for s in range(least, n // 2 + 1)]
        everything = sum(counts) <= pairs
        tail = law.flip(0).cumsum(0).flip(0).tolist()
        while taken < len(counts) and (everything or left * law[taken].item() >= counts[taken] * tail[taken]):
            left -= counts[taken]
            taken += 1
        sizes = range(least, least + taken)
        whole = [_of_size(n, s) for s in sizes]
        weights = [(law[i] / len(z)).expand(len(z)) for i, z in enumerate(whole)]
        rest = tail[taken] if taken < len(tail) else 0.0
        chances = law[taken:] / rest if rest else law[:0]
        drawn = torch.arange(least + taken, n // 2 + 1)
        return Plan(torch.cat([_none(n), *whole]), torch.cat([law[:0], *weights]), drawn, chances, rest)


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
        plan, n = self.plan, self.game.n
        if self.known is None:
            self.known = self._scores(plan.whole)
            units -= len(plan.whole)
        if units <= 0 or not len(plan.sizes):
            return
        # sizes at even steps through their law, so that each comes as often as it should
        at = (torch.arange(units) + self.streams.uniforms(1)) / units  # (B, m)
        size = torch.searchsorted(plan.chances.cumsum(0)[:-1].to(at.dtype).contiguous(), at.contiguous(), right=True)
        size = plan.sizes[size]
        order = self.streams.uniforms(units, n).argsort(-1)
        members = torch.arange(n) < size[..., None]
        z = torch.zeros(order.shape, dtype=torch.bool).scatter_(-1, order, members).movedim(0, 1)
        self.drawn.append(z)
        self.seen.append(self._scores(z))

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
        free = n - self.fixed
        if self.count and self.count + len(self.plan.whole) < n:
            part, rank = self._interpolated(gap)
            # that many of the directions were looked along, and what lies along the others is not known
            unknown = ((free + 1 - rank) / rank.clamp(min=1) / n).sqrt()
            return mean + part, part.norm(dim=-1, keepdim=True).expand_as(part) * unknown[:, None]
        normal, right = gap.new_zeros(gap.shape[1], n, n), gap.new_zeros(*gap.shape, n)
        for d, y, w in self._blocks(gap):
            weighted = d * w[..., None]
            normal = normal + weighted.mT @ d
            right = right + torch.einsum("tbk,bkn->tbn", y, weighted)
        inverse = _pseudoinverse(normal)[0]
        part = torch.einsum("bij,tbj->tbi", inverse, right)
        return mean + part, self._errors(part, inverse, gap)

    @property
    def count(self) -> int:
        """How many pairs were drawn."""
        return sum(map(len, self.drawn))

    def _blocks(self, gap: Tensor, drawn_only: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Equations d a = y with weights w: (1 or B, k, n), (T, B, k), (1 or B, k); the fixed sum taken out of them."""
        share = self.plan.rest / max(self.count, 1)
        found = [] if drawn_only or self.known is None else [(self.plan.whole[:, None], self.known, self.plan.weights)]
        for z, v in zip(self.drawn, self.seen, strict=True):
            found.append((z, v, torch.full((len(z),), share, dtype=torch.float64)))
        for z, v, w in found:
            size = max(1, BLOCK // max(1, z.shape[1] * z.shape[2]))
            for i in range(0, len(z), size):
                d = (2 * z[i : i + size].to(gap.device, torch.float64) - 1).movedim(0, 1)
                at = (v[0, i : i + size] - v[1, i : i + size]).movedim(0, -1)
                if self.fixed:
                    level = d.mean(-1, keepdim=True)
                    d, at = d - level, at - gap[..., None] * level[..., 0]
                yield d, at, w[i : i + size].to(gap.device)[None]

    def _errors(self, part: Tensor, inverse: Tensor, gap: Tensor) -> Tensor:
        """Standard errors that allow every coalition a residual of its own size (White 1980, in the form HC3)."""
        total = torch.zeros_like(part)
        for d, y, w in self._blocks(gap, drawn_only=True):
            pull = (d * w[..., None]) @ inverse
            own = (pull * d).sum(-1)  # how much a residual is shrunk by its own coalition
            rest = (y - torch.einsum("bkn,tbn->tbk", d, part)) / (1 - own).clamp(min=1e-3)
            total = total + torch.einsum("tbk,bkn->tbn", rest.square(), pull.square())
        return total.sqrt()

    def _interpolated(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Fewer pairs than features: of all that fit them the values nearest to equal ones; and their rank, (B, 1)."""
        blocks = list(self._blocks(gap))
        rows = gap.shape[1]
        a = torch.cat([(d * w.sqrt()[..., None]).expand(rows, -1, -1) for d, _, w in blocks], 1)
        y = torch.cat([y * w.sqrt() for _, y, w in blocks], -1)
        inverse, rank = _pseudoinverse(a @ a.mT)
        return torch.einsum("bkn,bkj,tbj->tbn", a, inverse, y), rank[:, None]

    def keep(self, game: Game, rows: Tensor) -> Pairs:
        """The same estimate for some of the rows."""
        some = Pairs(game, self.plan, self.fixed, self.streams.take(rows))
        some.known = None if self.known is None else self.known[..., rows]
        some.drawn, some.seen = [z[:, rows] for z in self.drawn], [v[..., rows] for v in self.seen]
        return some


def _pseudoinverse(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of symmetric matrices (B, n, n), with their ranks (B,)."""
    size, basis = torch.linalg.eigh(a)
    counts = size > 1e-10 * size.amax(-1, keepdim=True)
    scaled = basis * torch.where(counts, 1 / size, 0)[:, None]
    return scaled @ basis.mT, counts.sum(-1)
