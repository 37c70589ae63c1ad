"""`Pairs`: the operations of one pass compared with those of another, each row of the one with each of the other."""

from __future__ import annotations

from torch import Tensor

from .lasting import replace
from .ledger import Layout, Ledger, Unpairable
from .tables import Op, Pull, Rule, Slope
from .transforms import lies_last


class Pairs:
    """The operations of a pass at the inputs, whose rules wait for baselines.

    Gradients run back through the pass at the inputs, of B rows, under `torch.vmap` over baselines: the index of the
    layout chooses a row of the pass at the baselines, and what rules are given of that pass has the shape of what they
    are given of the inputs.
    """

    def __init__(self, rows: int) -> None:
        self.here, self.there, self.layout = Ledger(), Ledger(), Layout(rows)

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
            if isinstance(rule, Slope) and lies_last(gy):
                mine.lay_last()
                other.lay_last()
            at = self.layout.beside(other, mine.xs, mine.fixed, (mine.y, *mine.aux))
            return list(rule(replace(op, xs=mine.xs, y=mine.y, aux=mine.aux, at=at))(gy))

        return pull

    def meet(self, there: Ledger, size: int) -> None:
        """Take in the operations of a pass at the baselines; its number of rows is not that of the inputs."""
        mine, others = ([entry.name for entry in ledger.entries if entry] for ledger in (self.here, there))
        if mine != others:
            raise Unpairable("other operations at the baselines than at the inputs")
        self.there, self.layout.size = there, size
