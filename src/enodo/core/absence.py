"""`Absence`: what stands in for a feature that is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .values import Values

if TYPE_CHECKING:
    from .asked import Asked


@dataclass(frozen=True, eq=False)
class Absence:
    """What stands in for a feature that is absent, given as `baseline`.

    A plain baseline (`core.given.baseline_like`) is one of them: a number, a tensor, a structure like the inputs; at a
    layer its value there for those inputs. None is zero at `wrt` itself, also at a layer, and token 0 for token ids.
    """

    name: str = "zero"
    plain: Any = None  # a baseline for `baseline_like`
    background: bool = False  # whether `plain` is R rows of which each is as likely as the others
    stand_in: Callable[[Asked], Values] | None = None  # where there is no plain baseline

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    @staticmethod
    def of(spec: Any, inputs: Any, needs: frozenset[str]) -> Absence:
        """The Absence that a user gave as baseline to a method with these needs."""
        if isinstance(spec, Absence):
            return spec
        return Absence("zero") if spec is None else Absence("baseline", spec)

    def stand_ins(self, q: Asked) -> Values:
        """What stands in at `wrt`, (R, 1 or B, ...), for R that are equally likely."""
        if self.stand_in is not None:
            return self.stand_in(q)
        if self.plain is None:
            return q.x.map(lambda t: torch.zeros_like(t[:1])[None])
        return q.x0.map(lambda t: t[:, None] if self.background else t[None])
