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

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .absence import Absence
from .features import Features
from .partly import Partly
from .threads import cached_property
from .values import Values, end_to_end
from .ways import Few, Masked, Others

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
        self.absence = q.absence or Absence()

    @cached_property
    def worlds(self) -> Values:
        """What stands in for what is absent, (R, 1 or B, ...): a score is the mean over the R."""
        return self.absence.stand_ins(self.q)

    @property
    def n(self) -> int:
        """The number of features; the most of a row where rows differ."""
        return self.layout.n

    @property
    def counts(self) -> Tensor | None:
        """(B,): how many features each row has; None where all have n."""
        return self.layout.counts

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

    def without_each(self, others: Others | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """(i, j, scores) with each of the features i to j absent and all others present.

        `others(i, j)` gives what stands in for each of the features i to j, (j - i, B, ...), where it is not the same
        for all. A row that has fewer features than others is not run for those that it lacks: its full score is given.
        """
        if self.counts is None and self.q.rows > 1 and Partly.suits(self.q):
            yield 0, self.n, self._row_by_row(others)
            return
        if self.counts is None:
            way = Few(self) if Few.suits(self) else self._masked
            yield from self._streamed(self.n, way.without, others=others, way=way)
            return
        start = 0
        for end in self.counts.unique().tolist():
            rows = (self.counts > start).nonzero().flatten()
            for i, j, scores in self.take(rows)._all_but_each(start, end, others, rows):
                whole = self.full.expand(j - i, *self.full.shape).clone()
                whole[..., rows] = scores
                yield i, j, whole
            start = end

    def take(self, rows: Tensor) -> Game:
        """The game of some of the rows."""
        part = copy.copy(self)
        part.__dict__.pop("_masked", None)
        part.q = replace(self.q, target=self.q.settled_target).take(rows)
        part.q.memo["scores"] = self.full[..., rows]
        part.layout = self.layout.take(rows)
        part.worlds = self.worlds.map(lambda t: t if t.shape[1] == 1 else t[:, rows.to(t.device)])
        return part

    def spread(self, phi: Tensor) -> Values:
        """Attributions of features as those of values: (..., B, n) -> leaves (..., B, ...)."""
        return self.layout.spread(phi, self.q.x)

    def _row_by_row(self, others: Others | None) -> Tensor:
        """The scores of `without_each`, each row by itself, so that its passes can be made in part."""
        rows = []
        for r in range(self.q.rows):
            index = torch.tensor([r])
            beside = None if others is None else partial(_of_row, others, r)
            rows.append(torch.cat([s for _, _, s in self.take(index).without_each(beside)]))
        return torch.cat(rows, -1)

    def gather(self, values: Values) -> Tensor:
        """Values summed over each feature: leaves (B, ...) or (T, B, ...) -> (..., B, n)."""
        return self.layout.gather(values, values.leaves[0].ndim - self.q.x.leaves[0].ndim + 1)

    def _all_but_each(
        self, start: int, end: int, others: Others | None, rows: Tensor
    ) -> Iterator[tuple[int, int, Tensor]]:
        def some(i: int, j: int) -> Values:
            return (others or _none)(start + i, start + j).map(lambda t: t[:, rows.to(t.device)])

        masks: Masks = lambda i, j: self._masked.without(start + i, start + j)  # noqa: E731
        for i, j, scores in self._streamed(end - start, masks, others=some if others else None):
            yield start + i, start + j, scores

    @cached_property
    def _masked(self) -> Masked:
        return Masked(self)

    @cached_property
    def _device(self) -> torch.device:
        return self.q.x.leaves[0].device

    def _streamed(
        self, k: int, masks: Masks, empty: bool = False, others: Others | None = None, way: Masked | Few | None = None
    ) -> Iterator[tuple[int, int, Tensor]]:
        """(i, j, scores) of k points given by their masks; a point runs once in each of the R worlds."""
        if self._masked.parts:
            self.full  # noqa: B018  passes in part are told from the inputs
        memo, worlds, way = self.q.memo, 1 if others else len(self.worlds.leaves[0]), way or self._masked
        ends = way.ends
        lead = ends[:1] * ("scores" not in memo) + ends[1:] * (worlds if empty and "game empty" not in memo else 0)
        first = len(lead)

        def points(i: int, j: int) -> Values:
            parts = list(lead[i : min(j, first)])
            a, b = max(i, first) - first, j - first
            if b > a:
                found = masks(a // worlds, -(-b // worlds))
                if worlds > 1:
                    index = torch.arange(a, b, device=self._device) // worlds - a // worlds
                    found = [t[index] for t in found]
                parts.append(found)
            keep = parts[0] if len(parts) == 1 else [_joined(ts) for ts in zip(*parts, strict=True)]
            return way.set(keep, i - first, j - first, others)

        early: list[Tensor] = []
        waiting: list[Tensor] = []  # scores in the worlds of points that have not met all of them yet
        done = 0
        self.q.budget.foresee((first + k * worlds) * self.q.rows)
        for i, j, scores in self.q.stream(first + k * worlds, points, way.run, graph=False):
            if i < first:
                early.append(scores[: first - i])
                if j < first:
                    continue
                self._note(end_to_end(early))
            waiting.append(scores[max(first - i, 0) :])
            ready = (j - first) // worlds
            if ready > done:
                whole = end_to_end(waiting)
                size = (ready - done) * worlds
                yield done, ready, whole[:size].unflatten(0, (-1, worlds)).mean(1) if worlds > 1 else whole[:size]
                waiting, done = [whole[size:]] if len(whole) > size else [], ready

    def _note(self, scores: Tensor) -> None:
        """Remember the scores at the points that were run before the others."""
        memo = self.q.memo
        if "scores" not in memo:
            memo["scores"], scores = scores[0], scores[1:]
        if len(scores):
            memo["game empty"] = memo["baseline scores"] = scores.mean(0) if len(scores) > 1 else scores[0]


def _of_row(others: Others, r: int, i: int, j: int) -> Values:
    return others(i, j).map(lambda t: t[:, r : r + 1])


def _joined(masks: tuple[Tensor, ...]) -> Tensor:
    """Masks (k, 1 or B, ...) of points one after the other."""
    if len({t.shape[1:] for t in masks}) > 1:
        shape = torch.broadcast_shapes(*(t.shape[1:] for t in masks))  # which takes longer than a small model
        return torch.cat([t.expand(len(t), *shape) for t in masks])
    return torch.cat(masks)


def _none(i: int, j: int) -> Values:
    return Values(())
