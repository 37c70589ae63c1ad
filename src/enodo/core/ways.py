"""The ways in which the points of a game are made and run: by masks of what is present, by the few columns that differ.

A way has `ends`, what is present with all features and with none; `without(i, j)`, what is with each of the features i
to j absent; `set(keep, i, j, others)`, the values of points i to j of which that is present; and `run(x, k)`, the
scores of these. What tells presence is a list of tensors with points in front.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .budget import is_out_of_memory
from .columns import Columns, Sparing
from .painting import painted
from .partly import MISSED, Partly, unwatched
from .places import Visit
from .record import now
from .removal import tokens_of
from .threads import cached_property
from .values import Values, chosen

if TYPE_CHECKING:
    from .game import Game

Others = Callable[[int, int], Values]
WORTH = 1 << 17  # numbers that points have in all, from which on it is worth while to look at those that differ alone
FEW = 8  # of so many columns, one may differ


class Masked:
    """By masks, (k, 1 or B, ...) for each tensor of the values."""

    def __init__(self, game: Game) -> None:
        self.game, self.q, self.absence = game, game.q, game.absence

    @property
    def ends(self) -> list[list[Tensor]]:
        """Where each tensor is present with all features, and with none."""
        return self.game.layout.ends()

    def without(self, i: int, j: int) -> list[Tensor]:
        """Where each tensor is present with one of the features i to j absent."""
        return [~t for t in self.game.layout.absent_alone(i, j)]

    def set(self, keep: list[Tensor], i: int, j: int, others: Others | None) -> Values:
        """What points i to j (from -R or so for those before the others) set at `wrt`: (j - i, B, ...)."""
        x = self.q.x
        if self.absence.removal is not None:
            return Values(t.expand(j - i, *like.shape) for t, like in zip(keep, x.leaves, strict=True))
        if self.absence.paint is not None:
            return painted(self.q, self.absence.paint, keep, j - i)
        return x.map(lambda t, m, w: chosen(m, t, w), Values(keep), self._stand_in(i, j, others))

    def _stand_in(self, i: int, j: int, others: Others | None) -> Values:
        """(1 or j - i, 1 or B, ...)."""
        x, worlds = self.q.x, self.game.worlds
        if others is not None:
            stand_in = others(max(i, 0), j) if j > 0 else x.map(lambda t: t[None])
            before = min(j, 0) - i
            if before > 0 and j > 0:
                stand_in = x.map(lambda t, w: torch.cat([t.expand(before, *t.shape), w]), stand_in)
            return stand_in
        if len(worlds.leaves[0]) == 1:
            return worlds
        index = torch.arange(i, j, device=x.leaves[0].device) % len(worlds.leaves[0])
        return worlds.map(lambda w: w[index])

    def run(self, x: Values, k: int) -> Tensor:
        """Scores (k, B) or (k, T, B) of k perturbed points, in one pass."""
        q, removal = self.q, self.absence.removal
        if removal is None:
            found = self._in_part(x, k)
            return q.scored(x, k) if found is None else found
        path = tokens_of(q.call, q.wrt.whole)
        return q.scored_in(removal.edit(q.call.tile(k), path, x.leaves[0].flatten(0, 1)), [], k)

    @cached_property
    def parts(self) -> list[Partly]:
        """What makes the passes of each row in part, where that can be."""
        if not Partly.suits(self.q):
            return []
        settled = replace(self.q, target=self.q.settled_target)
        return [Partly(settled.take(torch.tensor([r]))) for r in range(self.q.rows)]

    def _in_part(self, x: Values, k: int) -> Tensor | None:
        """The scores of `run` by passes in part, row by row; None where these cannot be made."""
        if k == 1:
            return None
        rows = [
            part.scored(x.map(operator.itemgetter((slice(None), slice(r, r + 1)))), k)
            for r, part in enumerate(self.parts)
        ]
        found = [t for t in rows if t is not None]
        return torch.cat(found, -1) if found and len(found) == len(rows) else None


class Few:
    """By the columns of a table, (k, 1, c), that differ, and whether they are absent: others may fill the places."""

    def __init__(self, game: Game) -> None:
        self.game, self.q = game, unwatched(game.q)
        self.spares = True  # whether a linear layer makes use of it

    @staticmethod
    def suits(game: Game) -> bool:
        """Whether there is anything to gain: rows of a table, of which features are a few columns each."""
        q, x, owners = game.q, game.q.x.leaves, game.layout.owners
        if not (Partly.plain(q) and q.wrt.at_inputs and len(x) == len(owners) == 1 and x[0].ndim == 2):
            return False
        if game.absence.removal is not None or game.absence.paint is not None or owners[0].shape != x[0][:1].shape:
            return False
        return game.n * x[0].numel() >= WORTH and game.layout.largest * FEW <= x[0].shape[1]

    @property
    def ends(self) -> list[list[Tensor]]:
        """As `Masked.ends`, but only the first: with none present more than a few columns differ."""
        none = self.q.x.leaves[0].new_zeros(1, 1, 1, dtype=torch.long)
        return [[none, none.bool()]]

    def without(self, i: int, j: int) -> list[Tensor]:
        """As `Masked.without`."""
        return self.game.layout.entries(i, j)

    def set(self, keep: list[Tensor], i: int, j: int, others: Others | None) -> Values:
        """The columns and what stands in them, (j - i, c) and (j - i, B, c)."""
        (x,), (at, absent) = self.q.x.leaves, (t[:, 0] for t in keep)
        first = max(i, 0)
        if others is None:
            pool, index = self.game.worlds.leaves[0], torch.arange(i, j, device=x.device)
        else:
            pool = others(first, j).leaves[0] if j > 0 else x[None]
            index = torch.arange(i - first, j - first, device=x.device).clamp(min=0)
        there = pool[index[:, None] % len(pool), :, at].mT
        return Values([at, torch.where(absent[:, None], there, x[:, at].movedim(0, 1))])

    def run(self, x: Values, k: int) -> Tensor:
        """As `Masked.run`."""
        points = Columns(self.q.x.leaves[0], *x.leaves)
        found = self._sparing(points, k) if self.spares else None
        return self.q.scored(Values([points.whole().unflatten(0, (k, -1))]), k) if found is None else found

    def _sparing(self, points: Columns, k: int) -> Tensor | None:
        """The scores by a pass that is handed no points; None where the model reached for them out of sight."""
        q, mode = self.q, Sparing(points)
        visit = Visit(q.wrt, Values([mode.hand_out()]), False, False, q.sight)
        try:
            with mode:
                scores = now(q.scored_in(q.call.tile(k, q.wrt), [visit], k))
        except MISSED as error:
            if is_out_of_memory(error):
                raise
            self.spares = False  # a full pass says what was wrong, if it was not this
            return None
        self.spares = mode.spared and scores.device.type != "meta"
        return scores if scores.device.type != "meta" else None
