"""`Pairs`: the operations of one pass compared with those of another, each row of the one with each of the other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .ledger import Entry, Ledger
from .tables import Op, Pull, Rule


class Unpairable(Exception):
    """The rows of two passes cannot be told apart from what goes with them; the sentence says where."""


class Pairs:
    """The operations of a pass at the inputs, whose rules wait for baselines.

    Gradients run back through the pass at the inputs, of B rows, under `torch.vmap` over baselines: `index`, a number
    within vmap, chooses a row of the pass at the baselines, and what rules are given of that pass has the shape of what
    they are given of the inputs, without a copy. Where the rows of a value lie is seen by the two passes' having
    different numbers of them.
    """

    def __init__(self, rows: int) -> None:
        self.rows, self.size = rows, 0
        self.here, self.there = Ledger(), Ledger()
        self.index: Tensor | None = None
        self.merged = False  # whether rows were met that share a dimension with others, such as the heads of attention

    def add(self, op: Op, rule: Rule) -> Pull:
        """Write down an operation at the inputs; the gradient under its rule, once there are baselines."""
        number = len(self.here.entries)
        self.here.add(op.call, op.name, (op.y, *op.aux), True)
        masks = [(t, t._version) for t in op.call.fixed]

        def pull(gy: Tensor) -> list[Tensor | None]:
            if any(t._version != version for t, version in masks):
                raise Unpairable(f"a mask of {op.name!r} is written to after its use")
            mine, other = self.here.entries[number], self.there.entries[number]
            if mine is None or other is None:
                raise Unpairable(f"{op.name!r} was given up")
            there = replace(op, xs=mine.xs, y=mine.y, aux=mine.aux, at=self._beside(mine, other))
            return list(rule(there)(gy))

        return pull

    def meet(self, there: Ledger, size: int) -> None:
        """Take in the operations of a pass at the baselines; its number of rows is not that of the inputs."""
        mine, others = ([entry.name for entry in ledger.entries if entry] for ledger in (self.here, there))
        if mine != others:
            raise Unpairable("other operations at the baselines than at the inputs")
        self.there, self.size = there, size

    def _beside(self, mine: Entry, other: Entry) -> Entry:
        """The chosen baseline's part of an operation, laid out like that of the inputs."""
        results = [self._chosen(mine.y, y) for y in other.results]
        aux = tuple(self._chosen(a, b) for a, b in zip(mine.aux, other.aux, strict=True))
        xs = [self._chosen(a, b) for a, b in zip(mine.xs, other.xs, strict=True)]
        fixed = [self._chosen(a, b) for a, b in zip(mine.fixed, other.fixed, strict=True)]
        return Entry(other.name, xs, fixed, results, aux)

    def _chosen(self, mine: Tensor, other: Tensor) -> Tensor:
        if mine.shape == other.shape:  # no rows, or one of both
            return other
        differ = [d for d, (a, b) in enumerate(zip(mine.shape, other.shape, strict=False)) if a != b]
        d = differ[0] if differ else 0
        each = mine.shape[d] // self.rows
        like = torch.Size([*mine.shape[:d], each * self.size, *mine.shape[d + 1 :]])
        if not each or like != other.shape or self.index is None:
            given = f"values of shape {tuple(mine.shape)} at the inputs, {tuple(other.shape)} at the baselines"
            raise Unpairable(given)
        if each == 1:
            return other.index_select(d, self.index[None]).expand(mine.shape)
        self.merged = True
        one = other.unflatten(d, (self.size, each)).index_select(d, self.index[None])
        whole: Tensor = one.expand(*mine.shape[:d], self.rows, each, *mine.shape[d + 1 :])
        return whole.flatten(d, d + 1)
