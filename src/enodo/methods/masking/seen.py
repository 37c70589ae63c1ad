"""RISE: what the score is, on average, when a place is seen."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streams import Streams
from enodo.core.values import Values, is_continuous
from enodo.methods.shapley.every import check_evaluations, lifted
from enodo.methods.shapley.found import Found, answer
from enodo.methods.shapley.methods import EVALUATIONS, FIRST
from enodo.methods.shapley.sampling import sample

from .soft import scores

AT_ONCE = 32  # masks made together, whatever a pass may have, so that draws do not depend on that


@method(
    "rise",
    title="RISE",
    paper="Petsiuk et al. 2018, arXiv:1806.07421, equation 6",
    when="Pictures and any model: smooth maps of where what is seen raises the score, without gradients.",
    needs="score absence",
    claims="shared cells",
)
def rise(
    q: Question,
    *,
    features: Any = None,
    cells: int = 7,
    share: float = 0.5,
    max_evaluations: int = EVALUATIONS,
    tol: float | None = None,
) -> Values:
    """The mean score under random masks, weighted by how much of a place each lets through, with its standard error.

    a_p = sum_k f(x under m_k) m_k(p) / sum_k m_k(p), in units of the score: not a contribution but a level, to be
    compared between places. Values with two or more dimensions of places (pictures) get smooth masks, as in the paper:
    a grid of `cells` a side, each seen with probability `share`, enlarged bilinearly and shifted, the same for all
    channels. Other values, and `features`, are seen or not as they are.
    """
    check_evaluations(max_evaluations, tol)
    if isinstance(cells, bool) or not isinstance(cells, int) or isinstance(share, bool):
        refuse("cells", cells, "a whole number of cells a side", kind=BadType)
    if cells < 1:
        refuse("cells", cells, "at least 1 a side")
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        refuse("share", share, "a probability between 0 and 1")

    def solve(q: Question, game: Game) -> Found:
        return sample(q, features, Seen(game, share), max_evaluations, tol, FIRST)

    if features is None and all(t.ndim >= 4 and is_continuous(t) for t in q.x.leaves) and not q.sight.lookups:
        return _smooth(q, cells, share, max_evaluations, tol)
    return answer(q, features, solve)


class Seen:
    """The mean of the score over the masks in which a feature is seen; `grid` makes them smooth."""

    cost = 1

    def __init__(self, game: Game, share: float, grid: Grid | None = None, streams: Streams | None = None) -> None:
        self.game, self.share, self.grid, self.streams = game, share, grid, streams or game.q.streams
        self.details: dict[str, Tensor] = {}
        self.count = 0
        self.sums: list[Tensor] = []  # over masks m and scores f: m, m^2, (B, n); f m, f m^2, f^2 m^2, (T, B, n)

    def more(self, units: int) -> None:
        """Draw this many masks more."""
        self.count += units
        for start in range(0, units, AT_ONCE):
            k = min(AT_ONCE, units - start)
            if self.grid is None:
                m = (self.streams.uniforms(k, self.game.n) < self.share).movedim(0, 1)
                f = torch.cat([lifted(s) for _, _, s in self.game.stream(k, partial(_some, m))])
            else:
                drawn = self.grid.masks(self.streams, k, self.share)
                m, f = torch.cat([t.flatten(2) for t in drawn.leaves], -1), scores(self.game, self.grid.whole(drawn))
            m, f = (
                m.to(f.device, f.dtype),
                f - lifted(self.game.full, 0),
            )  # so that little is lost where f varies little
            parts = [m.sum(0), m.square().sum(0)]
            parts += [
                torch.einsum("ktb,kbn->tbn", a, b) for a, b in ((f, m), (f, m.square()), (f.square(), m.square()))
            ]
            self.sums = [a + b for a, b in zip(self.sums, parts, strict=True)] if self.sums else parts

    def answer(self) -> tuple[Tensor, Tensor]:
        """The weighted means and their standard errors, (T, B, n).

        The input itself counts as one mask more in the spread: its score is the one known to be possible that masks
        may well have missed, where it takes many features together.
        """
        m, squares, along, once, twice = self.sums
        m = m.clamp(min=1e-300)
        mean = along / m
        spread = (twice - 2 * mean * once + mean.square() * (squares + 1)).clamp(min=0)
        return mean + lifted(self.game.full, 0)[..., None], spread.sqrt() / m

    @property
    def freedom(self) -> float:
        """Of the standard errors: the masks that let a place through, on average, but one."""
        return max(self.share * self.count - 1, 1)

    def keep(self, game: Game, rows: Tensor) -> Seen:
        """The same for some of the rows."""
        some = Seen(game, self.share, self.grid, self.streams.take(rows))
        some.sums, some.count = [t[..., rows, :] for t in self.sums], self.count
        return some


class Grid:
    """Smooth masks over the places of values (B, C, *places)."""

    def __init__(self, x: Values, cells: int) -> None:
        self.shapes = [(t.shape[1], *t.shape[2:]) for t in x.leaves]
        self.cells = cells

    def masks(self, streams: Streams, k: int, share: float) -> Values:
        """k masks (k, B, *places) for each tensor."""
        return Values(self._one(streams, k, share, places) for _, *places in self.shapes)

    def _one(self, streams: Streams, k: int, share: float, places: list[int]) -> Tensor:
        d, side = len(places), self.cells + 1
        drawn = streams.uniforms(k, side**d + d)  # (B, k, ...)
        coarse = (drawn[..., : side**d] < share).float().unflatten(-1, (side,) * d)
        step = [math.ceil(p / self.cells) for p in places]
        mode = "bilinear" if d == 2 else "trilinear" if d == 3 else "nearest"
        smooth = {} if mode == "nearest" else {"align_corners": False}
        fine = F.interpolate(coarse.flatten(0, 1)[:, None], tuple(side * s for s in step), mode=mode, **smooth)[:, 0]
        for dim, (p, s) in enumerate(zip(places, step, strict=True), 1):
            first = (drawn[..., side**d + dim - 1].flatten() * s).long()
            at = first.view(-1, *[1] * d) + torch.arange(p).view(*[1] * dim, p, *[1] * (d - dim))
            fine = fine.gather(dim, at.expand(*fine.shape[:dim], p, *fine.shape[dim + 1 :]))
        return fine.clamp(0, 1).view(*drawn.shape[:2], *places).movedim(0, 1)

    def whole(self, masks: Values) -> Values:
        """The same for all channels: (k, B, C, *places)."""
        return Values(
            m[:, :, None].expand(-1, -1, s[0], *s[1:]) for m, s in zip(masks.leaves, self.shapes, strict=True)
        )


def _some(m: Tensor, i: int, j: int) -> Tensor:
    return m[i:j]


def _smooth(q: Question, cells: int, share: float, most: int, tol: float | None) -> Values:
    """The answer for pictures, place by place."""
    grid, game = Grid(q.x, cells), q.game(1)
    found = sample(q, 1, Seen(game, share, grid), most, tol, FIRST)

    def spread(t: Tensor) -> Values:
        t = (t[0] if q.scores.ndim == 1 else t).to(q.scores.dtype)
        parts = t.split([math.prod(s[1:]) for s in grid.shapes], -1)
        pairs = zip(parts, grid.shapes, strict=True)
        return Values(p.unflatten(-1, (1, *s[1:])).expand(*p.shape[:-1], *s).contiguous() for p, s in pairs)

    if found.stderr is not None:
        q.memo["stderr"] = spread(found.stderr)
    if found.error is not None:
        q.memo["error"] = found.error[0] if q.scores.ndim == 1 else found.error
    return spread(found.values)
