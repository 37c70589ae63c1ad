"""`Balance`: where relevance stays on its way down.

Every operation is measured: what it is given, what it hands on, and what of the difference its constants took (biases,
what is added to values, and the part of a softmax that does not depend on its argument to first order).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import parts
from enodo.core.tables import Decompose, Depends, Op, Plain, Pull, Refuse, Rule, Table, Treatment, own

from .carry import lost, nearly, read
from .layer import WEIGHTED
from .linear import CASTS, MOVES
from .propagation import Placed
from .relevance import identity

# What they keep is that of a bias: of an expansion to first order, of a batch norm that is merged, of a constant that
# was the larger.
_BIASED = frozenset(
    "softmax log_softmax logsumexp layer_and_norm norm_and_layer maximum minimum fmax fmin max min".split()
)
_JOINING = frozenset(
    "cat stack hstack vstack dstack column_stack row_stack pad constant_pad_nd select_scatter slice_scatter"
    " diagonal_scatter setitem scatter masked_scatter put index_put index_copy index_fill fill fill_diagonal".split()
)
_MOVES = frozenset((*MOVES, *CASTS)) - _JOINING  # as they are, also for rules that look at what made a value
_ENDLESS = torch.finfo(torch.float32).max / 2


def _inner(x: Tensor, c: Tensor, carried: bool = False) -> float:
    """The relevance of x; masked values, infinite or the lowest of their dtype, have none."""
    masked = (c == 0) | (x.abs() >= _ENDLESS)
    return float(torch.where(masked, 0, read(x, c) if carried else x * c.conj()).sum().real)


def _carried(rule: Any, op: Op) -> tuple[Sequence[bool], bool]:
    """To which operands relevance is carried, and whether it is from the result."""
    if op.name == "layer_and_norm":
        made = op.call.args[-1]
        return (made.arrives, False), made.onward
    return getattr(rule, "to", [False] * len(op.xs)), getattr(rule, "onward", False)


@dataclass
class Balance:
    """Of all rows of one backward pass, by the name of an operation; in units of the score."""

    kept: Counter[str] = field(default_factory=Counter)  # what was given less what was handed on
    constants: Counter[str] = field(default_factory=Counter)  # and what of that constants took

    def table(self, table: Table) -> Table:
        """The table with every treatment measured; what moves data keeps nothing, unless it joins it to constants."""
        measured = {name: t if name in _MOVES else self._measured(t) for name, t in table.entries.items()}
        return replace(table, entries=measured, modules={m: self._measured(t) for m, t in table.modules.items()})

    def _measured(self, treatment: Treatment) -> Depends:
        def choose(*args: Any, **kwargs: Any) -> Treatment:
            found: Treatment = treatment.choose(*args, **kwargs) if isinstance(treatment, Depends) else treatment
            if isinstance(found, (Decompose, Refuse, Depends)):
                return found
            return _Measured(self, own, True) if isinstance(found, Plain) else _Measured(self, found, False)

        return Depends(choose)


class _Measured:
    """A rule, and what it keeps."""

    def __init__(self, balance: Balance, rule: Rule, linear: bool) -> None:
        self.balance, self.rule = balance, rule
        self.placed = rule if isinstance(rule, Placed) else None
        self.linear = linear
        self.plain = linear or getattr(rule, "plain", False)

    def __call__(self, op: Op) -> Pull:
        pull = self.rule(op)
        to, onward = _carried(self.rule, op)
        y, xs = op.y.detach().clone(), [x.detach().clone() for x in op.xs]
        kept, constants = self.balance.kept, self.balance.constants
        proportional = self.placed is not None and self.placed.rule.proportional

        def back(gy: Tensor) -> Any:
            found = pull(gy)
            given = zip(xs, found, to, strict=True)
            rest = _inner(y, gy, onward) - sum(_inner(x, g, flag) for x, g, flag in given if g is not None)
            kept[op.name] += rest  # type: ignore[assignment]
            nothing = None  # the result where there is nothing on the path
            if (self.linear and op.name not in _BIASED) or (proportional and op.name in WEIGHTED):
                nothing = parts(
                    op.call(*[torch.zeros_like(x) if on else x for x, on in zip(xs, op.live, strict=True)])
                )[0]
            elif self.rule is identity:
                nothing = torch.where(nearly(xs[op.live.index(True)]), y, 0)
            elif op.name in _BIASED or (self.placed is not None and len(xs) > 2):
                constants[op.name] += rest  # type: ignore[assignment]
            if nothing is not None:
                constants[op.name] += _inner(nothing, lost(y, gy) if onward else gy)  # type: ignore[assignment]
            return found

        return back
