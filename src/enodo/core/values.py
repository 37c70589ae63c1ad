"""`Values`: the tensors at a place in the model, as one vector.

Every algorithm is written on `Values` and never asks whether there is one tensor or a nested structure of them. Leading
dimensions stack: a leaf is (B, ...) for one value a row, (k, B, ...) for k points, (k, T, B, ...) for k points and T
targets, so that a value (B, ...) broadcasts against all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import tree as trees


@dataclass(frozen=True)
class Form:
    """How the leaves of `Values` lie in a nested value: `template` with holes at `paths`, all else constant."""

    template: Any
    paths: tuple[trees.Path, ...]

    @staticmethod
    def of(value: Any) -> tuple[Form, list[Tensor]]:
        """The form of a nested value and its floating-point tensors, the part that can be explained."""
        if isinstance(value, Tensor):
            return (WHOLE, [value]) if is_continuous(value) else (Form(value, ()), [])
        found = [(path, leaf) for path, leaf in trees.leaves(value) if isinstance(leaf, Tensor) and is_continuous(leaf)]
        return Form(value, tuple(path for path, _ in found)), [leaf for _, leaf in found]

    def fill(self, leaves: Iterable[Any]) -> Any:
        """The nested value with these leaves in the holes."""
        if self.paths == ((),):
            return next(iter(leaves))
        value = self.template
        for path, leaf in zip(self.paths, leaves, strict=True):
            value = trees.put(value, path, leaf)
        return value

    def fill_blank(self, leaves: Iterable[Tensor], like: Tensor | None, lead: int = 0) -> Any:
        """The nested value with everything else blank: zeros for tensors that cannot be explained, else None.

        `lead` dimensions stand before those of the value; zeros have them, and their dtype, from `like`.
        """
        leaves = list(leaves)
        if self.paths == ((),):
            return leaves[0]
        front, dtype = ((), None) if like is None else (like.shape[:lead], like.dtype)

        def blank(t: Any) -> Any:
            return torch.zeros(*front, *t.shape, dtype=dtype, device=t.device) if isinstance(t, Tensor) else None

        return Form(trees.map_tree(blank, self.template), self.paths).fill(leaves)


WHOLE = Form(None, ((),))


def is_continuous(t: Tensor) -> bool:
    """Whether gradients can flow: floating point or complex."""
    return t.is_floating_point() or t.is_complex()


class Values:
    """A vector made of tensors: elementwise arithmetic with other Values, tensors and numbers."""

    __slots__ = ("leaves",)

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        self.leaves: tuple[Tensor, ...] = tuple(leaves)

    def map(self, fn: Callable[..., Tensor], *others: Any) -> Values:
        """`fn` on every leaf; Values among `others` are read along, anything else is given to each call as it is."""
        if not others:
            return Values(map(fn, self.leaves))
        beside = [o.leaves if isinstance(o, Values) else (o,) * len(self.leaves) for o in others]
        return Values(map(fn, self.leaves, *beside))

    def __add__(self, other: Any) -> Values:
        return self.map(operator.add, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Values:
        return self.map(operator.sub, other)

    def __mul__(self, other: Any) -> Values:
        return self.map(operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Values:
        return self.map(operator.truediv, other)

    def __neg__(self) -> Values:
        return self.map(operator.neg)

    def __len__(self) -> int:
        return len(self.leaves)

    def flatten(self) -> Values:
        """(k, B, ...) -> (k * B, ...): points become rows of one pass."""
        return self.map(lambda t: t.flatten(0, 1))

    def rowsum(self, like: Tensor) -> Tensor:
        """The sum of all features; `like` (a score, (B,) or (T, B), or k of them) tells which dimensions lead."""
        lead = like.ndim
        if len(self.leaves) == 1 and self.leaves[0].ndim > lead:
            return self.leaves[0].flatten(lead).sum(-1)
        return torch.stack([t.flatten(lead).sum(-1) if t.ndim > lead else t for t in self.leaves]).sum(0)

    def weighted(self, weights: Tensor) -> Values:
        """The sum over the leading dimension, each entry times its weight (k,); half precision adds up in float32."""

        def total(t: Tensor) -> Tensor:
            t = t.to(accumulator(t.dtype))
            return (weights.to(t.dtype) @ t.flatten(1)).view(t.shape[1:])

        return self.map(total)

    def to_dtype_of(self, other: Values) -> Values:
        """The same numbers in the dtypes of `other`."""
        return (
            self
            if self.leaves[0].dtype == other.leaves[0].dtype and len(self) == 1
            else self.map(lambda t, o: t.to(o.dtype), other)
        )


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype to sum in: float32 for half precision, else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def along(weights: Tensor, t: Tensor, lead: int = 0) -> Tensor:
    """`weights`, reshaped so that its dimensions line up with those of `t` from dimension `lead` on."""
    return weights.reshape(*weights.shape, *[1] * (t.ndim - lead - weights.ndim))


def concat(parts: Sequence[Values], dim: int) -> Values:
    """Values laid end to end along a dimension."""
    return parts[0] if len(parts) == 1 else parts[0].map(lambda *ts: torch.cat(ts, dim), *parts[1:])
