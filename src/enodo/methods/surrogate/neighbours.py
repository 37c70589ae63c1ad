"""Which neighbours of an input a surrogate is fitted to, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.values import Values

Near = Callable[[Any, Any, Tensor], Any]
WIDTHS: dict[Any, Callable[[int], float]] = {"cosine": lambda n: 0.25, "euclidean": lambda n: 0.75 * n**0.5}


@dataclass(frozen=True)
class Similarity:
    """How much a neighbour counts: the option `similarity` of `lime`, with its `width`.

    | similarity | weight of a coalition z of n features |
    |---|---|
    | "euclidean" | exp(-d^2 / (2 width^2)) with d = sqrt(n - |z|), the distance from all features; width 0.75 sqrt(n) |
    | "cosine" | the same with d = 1 - sqrt(|z| / n), the cosine distance; width 0.25 |
    | a function | fn(value, neighbours, z) -> (k,), called for each row |

    The first is a product over features, so that one the model ignores gets nothing; that is true of no other.
    It is given the value at `wrt`, (1, ...), k neighbours of it, (k, ...), and their coalitions, (k, n).
    """

    spec: str | Near
    width: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.spec) and (not isinstance(self.spec, str) or self.spec not in WIDTHS):
            refuse("similarity", repr(self.spec), '"cosine", "euclidean" or a function')
        if self.width is None:
            return
        if isinstance(self.width, bool) or not isinstance(self.width, (int, float)) or not self.width > 0:
            refuse("width", self.width, "a positive number", kind=BadType)

    def weights(self, game: Game, z: Tensor) -> Tensor:
        """(B, k), float64, of coalitions (k, 1 or B, n)."""
        if callable(self.spec):
            return self._called(self.spec, game, z)
        n = z.shape[-1]
        size = z.sum(-1).to(torch.float64).mT.expand(game.q.rows, -1)
        distance = 1 - (size / n).sqrt() if self.spec == "cosine" else (n - size).sqrt()
        width = self.width or WIDTHS[self.spec](n)
        return (-distance.square() / (2 * width**2)).exp()

    def _called(self, fn: Near, game: Game, z: Tensor) -> Tensor:
        q, rows = game.q, game.q.rows
        if game.absence.removal is not None or game.absence.paint is not None or len(game.worlds.leaves[0]) != 1:
            given = f"a function, with {game.absence} as baseline"
            refuse("similarity", given, "one that compares with a single baseline, or the name of a similarity")
        keep = Values(game.layout.present(z.to(q.x.leaves[0].device)))
        near = q.x.map(lambda t, m, w: torch.where(m, t, w), keep, game.worlds)
        weights = []
        for b in range(rows):
            value, some = row_of(q, _one(q, b), b), row_of(q, near.map(column, b), b)
            found = torch.as_tensor(fn(value, some, column(z, b)))
            found = found.detach().to(torch.float64)
            if found.numel() != len(z):
                refuse("similarity", f"a function that returned shape {tuple(found.shape)}", f"({len(z)},)")
            weights.append(found.reshape(-1))
        whole = torch.stack(weights)
        if not bool((whole >= 0).all()) or not bool((whole.sum(-1) > 0).all()):
            refuse("similarity", "a function that returned weights below zero, or nothing but zeros", "weights from 0")
        return whole


def column(t: Tensor, b: int) -> Tensor:
    """What row b has in (k, 1 or B, ...)."""
    return t[:, min(b, t.shape[1] - 1)]


def _one(q: Question, b: int) -> Values:
    return q.x.map(lambda t: t[b : b + 1])


def row_of(q: Question, values: Values, b: int) -> Any:
    """Values of row b, some of them, in the structure at `wrt`."""
    alone = q if q.rows == 1 else q.take(torch.tensor([b]))
    return alone.present(alone.told(values, 0), 0)


@dataclass(frozen=True)
class Draw:
    """Which coalitions are evaluated: the option `coalitions` of `lime`.

    | coalitions | |
    |---|---|
    | None | each feature is there or not by the toss of a coin; all 2^n once where they fit into `max_evaluations` |
    | a tensor (k, n) of 0 and 1 | these, for every row |
    | a function | fn(value, n) -> (k, n), called for each row with its value at `wrt`, (1, ...) |
    """

    spec: Any = None

    def given(self, game: Game) -> Tensor:
        """The coalitions that a user gave, (k, 1 or B, n), bool."""
        if not callable(self.spec):
            return self._checked(self.spec, game.n)[:, None]
        q = game.q
        found = [self._checked(self.spec(row_of(q, _one(q, b), b), game.n), game.n) for b in range(q.rows)]
        if len({len(z) for z in found}) > 1:
            refuse("coalitions", f"a function that returned {[len(z) for z in found]} of them", "as many for each row")
        return torch.stack(found, 1)

    def _checked(self, given: Any, n: int) -> Tensor:
        try:
            z = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            refuse("coalitions", given, f"a tensor (k, {n}) of 0 and 1", kind=BadType)
        if z.ndim != 2 or z.shape[1] != n or not len(z) or not bool(((z == 0) | (z == 1)).all()):
            refuse("coalitions", z, f"shape (k, {n}), 0 and 1")
        return z.bool()
