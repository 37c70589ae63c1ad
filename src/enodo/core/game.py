"""`Game`: the score as a function of which features are present, for any set of them: what perturbation asks.

A coalition is the set of features present; the others are absent, and something stands in for them. `q.game(features)`
gives the game of a Question:

* `game.n`: the number of features; where rows differ the most of a row, and `game.counts`, (B,), else None, has each;
* `game.full`, `game.empty`: the scores with all present and with none, (B,) or (T, B), computed once;
* `game.play(coalitions)`: the scores (k, B) or (k, T, B) of k coalitions, bool (k, n) or (k, B, n), True = present;
* `game.stream(k, make)`: the same lazily, with make(i, j) -> coalitions i to j, as (i, j, scores);
* `game.without_each()`: the scores with one feature absent, for each feature, as (i, j, scores);
* `game.spread(phi)`: (B, n) or (T, B, n), an attribution a feature, as Values: each value has its feature's.

Passes are packed across coalitions and rows under the memory contract, without a graph; all targets share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .absence import Absence
from .features import Features
from .values import Values, concat

if TYPE_CHECKING:
    from .question import Question

Make = Callable[[int, int], Tensor]
Masks = Callable[[int, int], list[Tensor]]  # where each tensor is present at points i to j: (j - i, 1 or B, ...)
CODED = 62  # features whose coalitions fit a whole number


class Game:
    """See the module's text."""

    def __init__(self, q: Question, features: Features) -> None:
        self.q = q
        self.layout = features.lay(q)
        self.n, self.counts = self.layout.n, self.layout.counts
        self.worlds = (q.absence or Absence()).stand_ins(
            q
        )  # what stands in, (R, 1 or B, ...): a score is the mean over the R

    @property
    def full(self) -> Tensor:
        """The score with every feature present, (B,) or (T, B)."""
        return self.q.scores

    @property
    def empty(self) -> Tensor:
        """The score with no feature present, (B,) or (T, B)."""
        if "game empty" not in self.q.memo:
            for _ in self._streamed(0, lambda i, j: [], empty=True):
                pass
        scores: Tensor = self.q.memo["game empty"]
        return scores

    def play(self, coalitions: Tensor) -> Tensor:
        """The scores of coalitions; those that are the same for all rows, and occur twice, are run once."""
        coalitions = coalitions.to(torch.bool)
        again = None
        if coalitions.ndim == 2 and 0 < self.n <= CODED and len(coalitions) > 1:
            codes = (coalitions.long() << torch.arange(self.n, device=coalitions.device)).sum(1)
            found, index = torch.unique(codes, return_inverse=True)
            if len(found) < len(codes):
                first = torch.empty_like(found).scatter_(0, index, torch.arange(len(index), device=index.device))
                coalitions, again = coalitions[first], index
        parts = [s for _, _, s in self.stream(len(coalitions), lambda i, j: coalitions[i:j])]
        scores = torch.cat(parts) if parts else self.full.new_zeros(0, *self.full.shape)
        return scores if again is None else scores[again.to(scores.device)]

    def stream(self, k: int, make: Make, empty: bool = False) -> Iterator[tuple[int, int, Tensor]]:
        """(i, j, scores) of k coalitions made as they are needed.

        The first pass takes along the inputs themselves and, with `empty`, the coalition of none, if they are not
        known.
        """

        def masks(i: int, j: int) -> list[Tensor]:
            return self.layout.present(make(i, j).to(self._device))

        return self._streamed(k, masks, empty)

    def without_each(self, i: int = 0, j: int | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """(i, j, scores) with each of the features i to j absent and all others present."""
        last = self.n if j is None else j
        for a, b, scores in self._streamed(last - i, lambda a, b: self._all_but(i + a, i + b)):
            yield i + a, i + b, scores

    def spread(self, phi: Tensor) -> Values:
        """Attributions of features as those of values: (..., B, n) -> leaves (..., B, ...)."""
        return self.layout.spread(phi, self.q.x)

    def _all_but(self, i: int, j: int) -> list[Tensor]:
        return [~t for t in self.layout.absent_alone(i, j)]

    @cached_property
    def _device(self) -> torch.device:
        return self.q.x.leaves[0].device

    def _streamed(self, k: int, masks: Masks, empty: bool = False) -> Iterator[tuple[int, int, Tensor]]:
        """(i, j, scores) of k points given by their masks; a point runs once in each of the R worlds."""
        q, x, memo = self.q, self.q.x, self.q.memo
        worlds = len(self.worlds.leaves[0])
        lead = [x.map(lambda t: t[None])] if "scores" not in memo else []
        if empty and "game empty" not in memo:
            lead.append(self.worlds.map(lambda w, t: w.expand(worlds, *t.shape), x))
        before = concat(lead, 0) if lead else None
        first = len(before.leaves[0]) if before is not None else 0

        def points(i: int, j: int) -> Values:
            parts = [before.map(lambda t: t[i : min(j, first)])] if before is not None and i < first else []
            if j > first:
                parts.append(self._mixed(masks, max(i, first) - first, j - first))
            return concat(parts, 0)

        early: list[Tensor] = []
        waiting: list[Tensor] = []  # scores in the worlds of points that have not met all of them yet
        done = 0
        for i, j, scores in q.stream(first + k * worlds, points, q.scored):
            if i < first:
                early.append(scores[: first - i])
                if j < first:
                    continue
                self._note(torch.cat(early))
            waiting.append(scores[max(first - i, 0) :])
            ready = (j - first) // worlds
            if ready > done:
                whole = torch.cat(waiting) if len(waiting) > 1 else waiting[0]
                size = (ready - done) * worlds
                yield done, ready, whole[:size].unflatten(0, (-1, worlds)).mean(1) if worlds > 1 else whole[:size]
                waiting, done = [whole[size:]] if len(whole) > size else [], ready

    def _note(self, scores: Tensor) -> None:
        """Remember the scores at the points that were run before the others."""
        memo = self.q.memo
        if "scores" not in memo:
            memo["scores"], scores = scores[0], scores[1:]
        if len(scores):
            memo["game empty"] = memo["baseline scores"] = scores.mean(0)

    def _mixed(self, masks: Masks, i: int, j: int) -> Values:
        """The values at points i to j, which are coalitions by worlds: (j - i, B, ...)."""
        worlds = len(self.worlds.leaves[0])
        if worlds == 1:
            found = zip(masks(i, j), self.q.x.leaves, self.worlds.leaves, strict=True)
            return Values(torch.where(keep, t, w) for keep, t, w in found)
        a, b = i // worlds, -(-j // worlds)
        index = torch.arange(i, j, device=self._device)
        found = zip(masks(a, b), self.q.x.leaves, self.worlds.leaves, strict=True)
        return Values(torch.where(keep[index // worlds - a], t, w[index % worlds]) for keep, t, w in found)
