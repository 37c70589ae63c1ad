"""Scores of many perturbed points of one row, of which only what the perturbation changes is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import tree as trees
from .budget import is_out_of_memory
from .draws import CERTAIN
from .partial import Replay
from .places import Visit
from .reach import LAID, MOST, Patch
from .record import Record, Unsuited, now
from .values import Values

if TYPE_CHECKING:
    from .question import Question

# What code that reaches past the mode runs into; anything else is the model's own, and goes on to the caller.
MISSED = (Unsuited, RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError)


class Partly:
    """Passes in part for a question about one row; `scored` gives None where the full pass is to be made."""

    def __init__(self, q: Question) -> None:
        self.q = unwatched(q)
        self.record: Record | None = None
        self.failed = False
        self.held = 0.0  # bytes a row of the largest tensor of any such pass; the first windows lie in a corner
        model = q.call.model
        self.own = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()

    @staticmethod
    def suits(q: Question) -> bool:
        """Whether there is anything to gain: a picture into a model that is not tiny, or a layer of any."""
        if q.budget.light or not Partly.plain(q):
            return False
        picture = isinstance(q.call.inputs, Tensor) and q.call.inputs.ndim == 4 and q.wrt.at_inputs
        return picture or all(p.layer is not None for p in q.wrt.points)

    @staticmethod
    def plain(q: Question) -> bool:
        """Whether passes of a module without a graph, and without chance, are asked about values at a place."""
        if q.create_graph or q.call.state.training or not isinstance(q.call.model, nn.Module):
            return False
        if q.wrt.ids or q.wrt.whole or q.shift is not None:
            return False
        if q.call.draws.watched:
            q.scores  # noqa: B018  a whole pass, which tells whether the model draws random numbers
        return not q.call.draws.kind

    def scored(self, x: Values, k: int) -> Tensor | None:
        """The scores (k, 1) or (k, T, 1) with `wrt` set to k points (k, 1, ...)."""
        if self.failed or k == 1:
            return None
        q = self.q
        if q.call.state.writes(q.call.model):
            return None
        patch = _patch(q.x.leaves[0], x.leaves[0][:, 0]) if q.wrt.at_inputs else None
        if q.wrt.at_inputs and patch is None:
            return None
        try:
            if self.record is None:
                self.record = self._recorded()
            return self._replayed(Replay(self.record, k, self.own), patch, x, k)
        except MISSED as error:
            if is_out_of_memory(error):
                raise
            self.failed = True  # a full pass says what was wrong, if it was not this
            return None

    def _recorded(self) -> Record:
        q, record = self.q, Record()
        visit, curious = self._visit(q.x), q.budget.curious
        q.budget.curious = False  # what would measure this pass is seen in the record
        try:
            with record:
                now(q.scored_in(q.call, [visit], 1))
            record.ended()
            if q.wrt.at_inputs:
                record.lay(LAID)
        except Exception:
            q.budget.curious = curious  # a full pass is measured
            raise
        if curious:
            q.budget.widened(max(t.nbytes for t in record.tensors()), 1, q.x.leaves[0].device, in_part=True)
        return record

    def _replayed(self, replay: Replay, patch: Patch | None, x: Values, k: int) -> Tensor:
        q, put = self.q, x.flatten()
        call = q.call.tile(k, q.wrt)
        if patch is not None:
            put = Values([replay.hand_out(patch)])
        else:
            call = replace(call, inputs=trees.map_tree(replay.row, q.call.inputs))
            replay.begin(put.leaves, call.inputs)
        replay.begin((), [call.args, dict(call.kwargs)])
        visit = self._visit(put)
        with replay:
            scores = q.scored_in(call, [visit], k)
        replay.ended()
        if not q.budget.fixed and replay.largest / k > self.held:
            self.held = replay.largest / k
            q.budget.widened(replay.largest, k, q.x.leaves[0].device, in_part=True)
        found: Tensor = replay.whole(scores)
        return found

    def _visit(self, x: Values) -> Visit:
        return Visit(self.q.wrt, x, False, False, self.q.sight)


def unwatched(q: Question) -> Question:
    """The question, whose passes are not watched for random numbers: under a mode no other pass could be made."""
    return replace(q, call=replace(q.call, draws=CERTAIN))


def _patch(base: Tensor, rows: Tensor) -> Patch | None:
    """What of the rows (k, C, H, W) differs from the row `base`; None where that is most of it."""
    differs = (rows != base).any(1)
    spans = []
    for dim in (2, 1):  # along H, along W
        there = differs.any(dim).to(torch.int8)
        size = there.shape[1]
        first, last = there.argmax(1), size - there.flip(1).argmax(1)
        last = torch.where(there.any(1), last, first + 1)
        most = int((last - first).max())
        spans.append((first.clamp(max=size - most).tolist(), most))
    (top, h), (left, w) = spans
    if h * w > MOST * base.shape[2] * base.shape[3]:
        return None
    new = torch.stack([row[:, y : y + h, x : x + w] for row, y, x in zip(rows, top, left, strict=True)])
    base, new = (t.contiguous(memory_format=LAID) for t in (base, new))
    return Patch(base, new, tuple(top), tuple(left))
