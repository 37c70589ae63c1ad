"""`Values`: the tensors at a place in the model, as one vector.

Every algorithm is written on `Values` and never asks whether there is one tensor or a nested structure of them. Leading
dimensions stack: a leaf is (B, ...) for one value a row, (k, B, ...) for k points, (k, T, B, ...) for k points and T
targets, so that a value (B, ...) broadcasts against all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import tree as trees
from .errors import refuse

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_MANY = 1 << 12  # numbers of a mask from which on arithmetic is the faster


@dataclass(frozen=True)
class Form:
    """How the leaves of `Values` lie in a nested value: `template` with holes at `paths`, all else constant."""

    template: Any
    paths: tuple[trees.Path, ...]
    dims: tuple[int, ...] = ()  # the dimension of each leaf that counts the rows; () where it is the first of all

    @staticmethod
    def of(
        value: Any,
        rows: int = 0,
        likely: Callable[[trees.Path], int] = lambda path: 0,
        also: Collection[trees.Path] = (),
    ) -> tuple[Form, list[Tensor]]:
        """The form of a nested value, and its floating-point tensors (the part that can be explained), rows first.

        With `rows`, the dimension that counts them is looked for in each tensor, first where it is `likely`. The
        integer tensors at the paths `also` are taken too.
        """
        if isinstance(value, Tensor):
            if is_continuous(value) and (not rows or (value.ndim and value.shape[0] == rows and not likely(()))):
                return WHOLE, [value]
            found = [((), value)] if is_continuous(value) or also else []
        else:
            tensors = [(p, t) for p, t in trees.leaves(value) if isinstance(t, Tensor)]
            # a lone number has no rows
            found = [(p, t) for p, t in tensors if (is_continuous(t) or p in also) and t.ndim]
        paths = tuple(path for path, _ in found)
        leaves = [t for _, t in found]
        dims: tuple[int, ...] = ()
        if rows and any(likely(p) or not t.ndim or len(t) != rows for p, t in found):
            dims = tuple(row_dim(t, rows, likely(p)) for p, t in found)
            leaves = [rows_first(t, rows, d) for t, d in zip(leaves, dims, strict=True)]
        if paths == ((),) and not any(dims):
            return WHOLE, leaves
        return Form(value, paths, dims), leaves

    def fill(self, leaves: Iterable[Any], lead: int = 0) -> Any:
        """The nested value with these leaves, in which `lead` dimensions stand before the rows, in the holes."""
        if any(self.dims):
            leaves = [t.movedim(lead, lead + d) for t, d in zip(leaves, self.dims, strict=True)]
        if self.paths == ((),):
            return next(iter(leaves))
        value = self.template
        for path, leaf in zip(self.paths, leaves, strict=True):
            value = trees.put(value, path, leaf)
        return value

    @property
    def row_dims(self) -> Any:
        """Like the nested value, with the dimension that counts the rows in the place of each tensor."""
        dims = self.dims or (0,) * len(self.paths)
        if self.paths == ((),):
            return dims[0]
        return Form(trees.map_tree(lambda _: 0, self.template), self.paths).fill(dims)

    def fill_blank(self, leaves: Iterable[Tensor], like: Tensor | None, lead: int = 0) -> Any:
        """The nested value with everything else blank: zeros for tensors that cannot be explained, else None.

        `lead` dimensions stand before those of the value; zeros have them, and their dtype, from `like`.
        """
        if self.paths == ((),):
            return self.fill(leaves, lead)
        front, dtype = ((), None) if like is None else (like.shape[:lead], like.dtype)

        def blank(t: Any) -> Any:
            return torch.zeros((*front, *t.shape), dtype=dtype, device=t.device) if isinstance(t, Tensor) else None

        return Form(trees.map_tree(blank, self.template), self.paths, self.dims).fill(leaves, lead)


WHOLE = Form(None, ((),))


def row_dim(t: Tensor, rows: int, likely: int) -> int:
    """The dimension of `t` that counts the rows: the likely one, or else the first that has their number."""
    if t.ndim > likely and t.shape[likely] == rows:
        return likely
    if t.ndim and len(t) == 1:
        return 0  # one value for all rows
    if rows not in t.shape:
        given = f"a place with a value of shape {tuple(t.shape)}, no dimension of which counts the {rows} rows"
        refuse("wrt", given, "values with one entry a row", "Ask where the value meets those of the rows.")
    return t.shape.index(rows)


def rows_first(t: Tensor, rows: int, dim: int) -> Tensor:
    """`t` with the dimension that counts the rows in front; one value for all rows becomes one for each."""
    t = t.movedim(dim, 0)
    return t if len(t) == rows else t.expand(rows, *t.shape[1:])


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
            return (weights.to(t) @ t.flatten(1)).view(t.shape[1:])

        return self.map(total)

    def to_dtype_of(self, other: Values) -> Values:
        """The same numbers in the dtypes of `other`, but for those that stand beside integers."""
        if self.leaves[0].dtype == other.leaves[0].dtype and len(self) == 1:
            return self
        return self.map(lambda t, o: t.to(o.dtype) if is_continuous(o) else t, other)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype to sum in: float32 for half precision, else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def along(weights: Tensor, t: Tensor, lead: int = 0) -> Tensor:
    """`weights`, reshaped so that its dimensions line up with those of `t` from dimension `lead` on."""
    return weights.reshape(*weights.shape, *[1] * (t.ndim - lead - weights.ndim))


def concat(parts: Sequence[Values], dim: int) -> Values:
    """Values laid end to end along a dimension."""
    return parts[0] if len(parts) == 1 else parts[0].map(lambda *ts: torch.cat(ts, dim), *parts[1:])


def end_to_end(parts: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other; a single one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def chosen(mask: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """`here` where the mask says so, else `there`, to the bit as `torch.where` has it.

    That branches at every number on a CPU, and of a mask without a pattern half of the branches are foreseen wrongly: 5
    ns a number, in which a small model is run. So of many numbers the bits are chosen by arithmetic, without branches.
    """
    plain = here.dtype == there.dtype and here.device.type == there.device.type == mask.device.type == "cpu"
    bits = _BITS.get(here.element_size())
    if mask.numel() < _MANY or not plain or bits is None or here.is_complex() or _has_grad(here, there):
        return torch.where(mask, here, there)
    a, b = (t.resolve_neg().view(bits) for t in (here, there))
    return ((a ^ b) * mask).bitwise_xor_(b).view(here.dtype)


def _has_grad(*ts: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in ts)


def check_real(leaves: Iterable[Tensor], name: str) -> None:
    """Refuse complex values where a derivative or a noise is wanted: a product with the former would be no share."""
    if any(map(torch.is_complex, leaves)):
        instead = "Give the model torch.view_as_real(z), of which it makes z by torch.view_as_complex."
        refuse("wrt", f"{name}, whose values are complex", "real values", instead)
