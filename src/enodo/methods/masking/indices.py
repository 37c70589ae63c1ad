"""Sobol indices: which share of what the score does under random masks is due to each feature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from enodo.core.errors import refuse
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streams import Streams
from enodo.core.values import Values
from enodo.methods.shapley.every import check_evaluations, several
from enodo.methods.shapley.found import Found, answer
from enodo.methods.shapley.methods import EVALUATIONS, FIRST
from enodo.methods.shapley.sampling import sample

from .soft import scores

BLOCK = 1 << 20  # shares of features that are drawn together
MOST = SobolEngine.MAXDIM // 2


@method(
    "sobol",
    title="Sobol indices (total and first order)",
    paper="Fel et al. 2021, arXiv:2111.04138, equation 3; Jansen 1999, doi:10.1016/S0010-4655(98)00154-4",
    when="Pictures and any model: how much of the score's variation a region accounts for, with all it does together.",
    needs="score absence",
    wants=several,
    claims="size",
    counts="share of the score's variance",
)
def sobol(q: Question, *, features: Any = None, max_evaluations: int = EVALUATIONS, tol: float | None = None) -> Values:
    """The share of the score's variance, over masks, that is left when all features but one are known: total indices.

    A mask lets a share m_i of each feature through, uniform in [0, 1], the rest being what stands in for it. a_i =
    E[Var(f | all but m_i)] / Var(f), from 0 to 1, no unit, no sign; `details["first"]` has Var(E[f | m_i]) / Var(f),
    (B, n): what the feature does alone. Estimated by Jansen's formulas, n + 2 evaluations a point, over the variance of
    all of them, at the points of a Sobol sequence shifted at random for each row, with standard errors by leaving out
    each point in turn, as if the points were independent.
    """
    check_evaluations(max_evaluations, tol)

    def solve(q: Question, game: Game) -> Found:
        points = max_evaluations // (game.n + 2)
        if points < 2 or game.n > MOST:
            given = f"{max_evaluations} for {game.n} features"
            refuse("max_evaluations", given, f"at least {2 * (game.n + 2)}", "Group the features with features=.")
        return sample(q, features, Indices(game), points, tol, max(2, FIRST // (game.n + 2)))

    return answer(q, features, solve)


class Indices:
    """Total and first order indices from two samples A and B, and A with one column of B."""

    def __init__(self, game: Game, streams: Streams | None = None, shift: Tensor | None = None) -> None:
        self.game, self.streams = game, streams or game.q.streams
        self.cost = game.n + 2
        self.shift = self.streams.uniforms(2 * game.n) if shift is None else shift  # (B, 2 n)
        self.sequence = SobolEngine(2 * game.n)
        self.details: dict[str, Tensor] = {}
        self.met: list[
            tuple[Tensor, Tensor]
        ] = []  # scores at A and B, (2, m, T, B); at A with B's column, (m, n, T, B)

    def more(self, units: int) -> None:
        """Evaluate this many points more."""
        n = self.game.n
        size = max(1, BLOCK // (self.cost * n * len(self.shift)))
        for start in range(0, units, size):
            base = self.sequence.draw(min(size, units - start), dtype=torch.float32)
            a, b = ((base[:, None] + self.shift) % 1).split(n, -1)  # (m, B, n)
            eye = torch.eye(n, dtype=torch.bool)[:, None]
            mixed = torch.where(eye, b[:, None], a[:, None])  # (m, n, B, n)
            shares = torch.cat([a, b, mixed.flatten(0, 1)])
            found = scores(self.game, self.game.spread(shares.to(self.game.q.x.leaves[0].device)))
            self.met.append((found[: 2 * len(a)].unflatten(0, (2, -1)), found[2 * len(a) :].unflatten(0, (-1, n))))

    def answer(self) -> tuple[Tensor, Tensor]:
        """Total indices and their standard errors, (T, B, n); those of first order are in `details`."""
        plain, mixed = torch.cat([p for p, _ in self.met], 1), torch.cat([m for _, m in self.met])
        a, b = plain
        points, every = len(a), torch.cat([plain.movedim(1, 0), mixed], 1)  # (m, n + 2, T, B), all alike in law
        centred = every - every.mean((0, 1))
        varied = centred.square().mean(1, keepdim=True)  # (m, 1, T, B)
        total, rest = (a[:, None] - mixed).square() / 2, (b[:, None] - mixed).square() / 2
        # what the mean takes of the variance: scores of one point go together, points do not
        variance = (varied.mean(0) + every.mean(1).var(0) / points).squeeze(0)
        flat = variance <= 1e-24 * every.square().mean((0, 1)).clamp(min=1e-280)

        def share(t: Tensor, of: Tensor = variance) -> Tensor:
            return torch.where(flat, 0, t / torch.where(flat, 1, of))

        index = share(total.mean(0))
        without = share(total.sum(0) - total, varied.sum(0) - varied)  # each point left out in turn: the jackknife
        spread = (without.var(0) / points).sqrt() * (points - 1)
        self.details = {"first": torch.where(flat, 0, 1 - share(rest.mean(0))).movedim(0, -1)}
        return index.movedim(0, -1), spread.movedim(0, -1)

    @property
    def freedom(self) -> int:
        """Of the standard errors: the points but one."""
        return sum(len(m) for _, m in self.met) - 1

    def keep(self, game: Game, rows: Tensor) -> Indices:
        """The same for some of the rows."""
        some = Indices(game, self.streams.take(rows), self.shift[rows])
        some.sequence = self.sequence
        some.met = [(p[..., rows], m[..., rows]) for p, m in self.met]
        return some
