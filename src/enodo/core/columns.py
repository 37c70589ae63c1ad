"""Points of a table that differ from its rows in a few columns, and passes in which a linear layer makes use of it.

A linear layer maps x + d to its result at x plus W d, of which only the columns count in which d is not zero. So the
model is handed a tensor without data (on torch's "meta" device), and the result of a linear layer that meets it is
found in this way. Any other operation is given the points in full, and the pass goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import tree as trees
from .operations import is_about, spelling, tensors_in


@dataclass(frozen=True, eq=False)
class Columns:
    """k points of B rows: the rows `x`, (B, n), but for `new`, (k, B, c), in the columns `at`, (k, c)."""

    x: Tensor
    at: Tensor
    new: Tensor

    def whole(self) -> Tensor:
        """The points, (k * B, n)."""
        points = self.x.expand(len(self.at), *self.x.shape).clone()
        return points.scatter_(2, self.at[:, None].expand_as(self.new), self.new).flatten(0, 1)

    def times(self, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """The product of the points with a matrix (n, m), plus a bias (m,): (k * B, m)."""
        base = self.x @ matrix if bias is None else torch.addmm(bias, self.x, matrix)
        change = self.new - self.x[:, self.at].movedim(0, 1)
        return torch.baddbmm(base.expand(len(change), *base.shape), change, matrix[self.at]).flatten(0, 1)


_PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "linear": lambda points, weight, bias=None: points.times(weight.mT, bias),
    "matmul": Columns.times,
}


class Sparing(TorchFunctionMode):
    """A pass in which the model is given `hand_out()` for the points."""

    def __init__(self, points: Columns) -> None:
        super().__init__()
        self.points = points
        self.spared = False  # whether a linear layer made use of them
        self._handed: dict[int, tuple[Tensor, list[Tensor]]] = {}  # by id, with the points once they were asked for

    def hand_out(self) -> Tensor:
        """What stands for the points."""
        x = self.points.x
        shown = torch.empty(len(self.points.at) * len(x), x.shape[1], dtype=x.dtype, device="meta")
        self._handed[id(shown)] = shown, []
        return shown

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        met = [t for _, t in tensors_in(args, kwargs) if id(t) in self._handed]
        if not met:
            return func(*args, **kwargs)
        if len(met) == 1 and args and args[0] is met[0] and not self._handed[id(met[0])][1]:
            name, operands = spelling(func).name, args[1:]
            if is_about(func):
                found = func(self.points.x[:1].expand(met[0].shape), *operands, **kwargs)
                if not isinstance(found, Tensor):
                    return found
            if name == "detach":
                return met[0]
            if name == "clone":
                return self.hand_out()
            if name in _PRODUCTS and operands and self._is_matrix(operands[0]):
                self.spared = True
                return _PRODUCTS[name](self.points, *operands, **kwargs)
        return func(*trees.map_tree(self._in_full, tuple(args)), **trees.map_tree(self._in_full, kwargs))

    def _is_matrix(self, t: Any) -> bool:
        x = self.points.x
        if type(t) not in (Tensor, nn.Parameter) or t.layout is not torch.strided or t.ndim != 2 or t.dtype != x.dtype:
            return False
        return not torch.is_autocast_enabled(x.device.type)

    def _in_full(self, t: Any) -> Any:
        if id(t) not in self._handed:
            return t
        _, points = self._handed[id(t)]
        if not points:
            points.append(self.points.whole())
        return points[0]
