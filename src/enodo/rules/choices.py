"""Operations whose every entry is taken from one place: indexing, gathering, writing at places, masks that choose."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from enodo.core.ledger import Unpairable, same
from enodo.core.operations import caller, tensors_in
from enodo.core.tables import Depends, Op, Plain, Pull, Treatment, UnknownOperation

from .composites import COMPOSITES
from .differences import bilinear, bounded, reference, unread
from .linear import LINEAR, only_first
from .sequences import SEQUENCES

_INDEXED = (
    "getitem setitem gather index_select take take_along_dim masked_select masked_scatter scatter put index_put"
    " index_copy index_fill max_unpool2d max_unpool3d embedding"
).split()
# Several entries meet at a place: linear where the places stay.
_ADDING = "scatter_add index_add scatter_reduce index_reduce embedding_bag grouped_mm nll_loss nll_loss_nd".split()


@unread
def chosen(op: Op) -> Pull:
    """Entries at given places: linear, where the places are those at the baseline.

    An entry that comes from a at the inputs and from b at the baseline changes by a - b0. The two share that in
    proportion to |a - a0| and |b - b0|.
    """
    at = reference(op)
    if all(map(same, op.call.fixed, at.fixed)):
        return op.vjp
    if at.readers and any(t.dtype != torch.bool for t in op.call.fixed):
        raise Unpairable(f"the indices of {op.name!r}, which may count rows")
    if _adds(op):
        _refuse(op, "the same places for both, where entries are added up")
    there = op.call.placed(at.fixed)
    blank = [torch.zeros_like(x) for x in op.xs]
    steps = [x - x0 if live else o for x, x0, o, live in zip(op.xs, at.xs, blank, op.live, strict=True)]
    y0 = there(*at.xs)
    if y0.shape != op.y.shape:
        _refuse(op, f"as many of them for both, not {tuple(op.y.shape)} and {tuple(y0.shape)}")
    a, b = ((call(*steps) - call(*blank)).nan_to_num() for call in (op.call, there))  # constants may be infinite
    turned = (op.y != there(*op.xs)) | (op.call(*at.xs) != y0)
    total = a.abs() + b.abs()
    share = torch.where(turned, _change(op.y, y0) / torch.where(total == 0, 1, total), 0)

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = gy * share
        here = op.vjp(torch.where(turned, g * a.sign(), gy))
        more = there.pulled_at(op.xs, op.live, g * b.sign())
        return [one if other is None or one is None else one + other for one, other in zip(here, more, strict=True)]

    return pull


def _refuse(op: Op, expected: str) -> NoReturn:
    given = f"{op.name!r} at {caller()}, with indices that are other ones at the baseline than at the inputs"
    instead = "Where a model chooses its experts by the values, switch features off instead: shapley_values."
    raise UnknownOperation("model", given, expected, instead)


def _change(y: Tensor, y0: Tensor) -> Tensor:
    return y - y0 if y.is_complex() else bounded(y) - bounded(y0)


def _adds(op: Op) -> bool:
    accumulates = op.name in ("put", "index_put") and op.call.get(3, "accumulate", False)
    return op.name in _ADDING or accumulates or "reduce" in op.call.kwargs


def _by_places(usual: Treatment) -> Depends:
    """What is linear, where indices tell the places."""

    def choose(*args: Any, **kwargs: Any) -> Treatment:
        found: Treatment = usual.choose(*args, **kwargs) if isinstance(usual, Depends) else usual
        indexed = any(not t.is_floating_point() for _, t in tensors_in(args, kwargs))
        return chosen if indexed and isinstance(found, Plain) else found

    return Depends(choose)


_LINEAR: dict[str, Treatment] = {**LINEAR, **COMPOSITES, **SEQUENCES, "grouped_mm": only_first(bilinear)}
CHOICES: dict[str, Treatment] = {
    **dict.fromkeys(("where", "masked_fill"), chosen),
    **{name: _by_places(_LINEAR[name]) for name in (*_INDEXED, *_ADDING)},
}
