"""`Batch`: all rows of a call, for what is asked about rows among others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from .running import Call
from .values import Values, concat

if TYPE_CHECKING:
    from .asked import Asked


@dataclass
class Batch:
    """The whole call, and the values at `wrt` for all of its rows once they are known."""

    call: Call | None = None
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the call has."""
        return 0 if self.call is None else self.call.rows

    def values(self, q: Asked) -> Values:
        """The values at `wrt` for every row of the call, found in passes of as many rows as a pass may have."""
        if self.call is None or self.call.rows == q.rows:
            return q.x
        if "x" not in self.seen:
            parts, start = [], 0
            while start < self.rows:
                size = q.budget.points(1, self.rows - start)
                rows = self.call.take(torch.arange(start, start + size))
                part = replace(q, call=rows, memo={}, target=None, absence=None)
                visit, _ = part._at_inputs(grad=False, score=False)
                parts.append(visit.values)
                start += size
            self.seen["x"] = concat(parts, 0)
        found: Values = self.seen["x"]
        return found
