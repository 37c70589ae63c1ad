"""`Tracker`: follows token ids from the inputs of a pass to the embedding lookups that they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from .errors import refuse
from .operations import spelling

# Calls that move or copy the entries of their first argument: applied to the positions, they tell where each went.
_MOVES = frozenset(
    "view reshape flatten ravel unflatten squeeze unsqueeze transpose permute t T mT movedim contiguous"
    " clone detach expand expand_as broadcast_to repeat repeat_interleave tile getitem index index_select select slice"
    " narrow split tensor_split chunk unbind flip roll cat stack hstack vstack gather take_along_dim view_as"
    " reshape_as pad unfold alias".split()
)
# Calls that change the entries in place or one by one (offsets, clamps, casts): positions stay.
_ELEMENTWISE = frozenset(
    "to long int type short add sub rsub mul remainder fmod clamp masked_fill where floor_divide floordiv cpu cuda"
    " nan_to_num bitwise_and and bitwise_or or bitwise_xor xor".split()
)


# Calls that write entries of their last argument into their first.
_WRITES = frozenset("setitem copy index_put index_copy scatter masked_scatter".split())
_WRITTEN = frozenset(("src", "source", "value", "values"))
_GATED = frozenset("mul bitwise_and and".split())


@dataclass(frozen=True)
class Lookup:
    """Where the vectors of an embedding lookup came from.

    `positions` has an entry for each vector: which of the integers of its row it is of, those of all integer inputs
    counted one after the other.
    """

    inputs: frozenset[int]  # which integer inputs
    positions: Tensor  # (B, ...); -1 where the model put in a constant
    dim: int  # the dimension of the index tensor that counts the rows
    flat: bool  # whether rows and positions were one dimension

    def rows_first(self, vectors: Tensor) -> Tensor:
        """Looked-up vectors with the batch dimension first."""
        if self.flat:
            return vectors.reshape(len(self.positions), -1, *vectors.shape[1:])
        return vectors.movedim(self.dim, 0)

    def restore(self, vectors: Tensor) -> Tensor:
        """The inverse of `rows_first`."""
        return vectors.flatten(0, 1) if self.flat else vectors.movedim(0, self.dim)

    def per_token(self, vectors: Tensor, lead: int, count: int) -> Tensor:
        """Sums over the vector dimension for each integer of a row, (*lead, B, count); tokens met twice add up."""
        rows = vectors.shape[lead]
        positions = self.positions[:rows].reshape(rows, -1).to(vectors.device)
        scores = vectors.reshape(*vectors.shape[: lead + self.positions.ndim], -1).sum(-1)
        scores = scores.reshape(*vectors.shape[: lead + 1], -1)
        scores = torch.where(positions >= 0, scores, 0)
        out = scores.new_zeros(*scores.shape[: lead + 1], count)
        return out.scatter_add(-1, positions.clamp(min=0).expand_as(scores), scores)


class Tracker:
    """Follows the integer inputs of one pass to the lookups they reach; `tap` sees, and may replace, the vectors.

    Each entry of a tensor that is followed has a number, which tells its row and its place among the integers of that
    row. So what the model joins of several inputs, or writes into a tensor of its own, is followed like all else.
    """

    def __init__(self, rows: int, ids: Sequence[Tensor], tap: Callable[[Lookup, Tensor], Tensor]) -> None:
        self.rows, self.tap = rows, tap
        self.known: dict[int, tuple[Tensor, Tensor]] = {}  # id -> the tensor (kept alive), its numbers
        self.firsts = list(accumulate((t.numel() // rows for t in ids), initial=0))  # of each input; their count
        for t, first in zip(ids, self.firsts, strict=False):
            row = torch.arange(rows, device=t.device).view(-1, *[1] * (t.ndim - 1)) * self.firsts[-1] + first
            self._learn(t, row + torch.arange(t[0].numel(), device=t.device).view(t.shape[1:]))

    def after(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        """`out`, or what takes its place; called after each torch call that has an integer input as an argument."""
        name = spelling(func).name
        index = self._index_of_lookup(name, args, kwargs)
        if index is not None and out.is_floating_point():
            found = self._lookup(self.known[id(index)][1], index)
            return out if found is None else found.restore(self.tap(found, found.rows_first(out)))
        if index is not None:  # ids exchanged for others
            if out.shape == index.shape and out.dtype != torch.bool:
                self._learn(out, self.known[id(index)][1])
            return out
        if name in _MOVES:
            self._move(func, name, args, kwargs, out)
        elif name in _WRITES:
            self._write(func, args, kwargs, out)
        elif (
            name in _ELEMENTWISE
            and isinstance(out, Tensor)
            and not (out.is_floating_point() or out.dtype == torch.bool)
        ):
            origin = self._changed(name, [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)])
            if origin is not None:
                self._learn(out, origin.expand(out.shape))
        return out

    def _changed(self, name: str, operands: list[Tensor]) -> Tensor | None:
        """The numbers of entries changed one by one: of two tensors, the first that is followed and is no gate.

        Positions that a model counts in a padding mask, and takes times that mask, are not made of the mask's entries.
        """
        followed = [t for t in operands if id(t) in self.known]
        if name == "where" and len(followed) > 1:
            condition, a, b = operands
            return torch.where(condition, self._numbers(a), self._numbers(b))
        if name in _GATED and len(operands) == 2 and operands[0].shape == operands[1].shape:
            gates = [_is_gate(t) for t in operands]
            followed = [t for t in followed if gates[0] == gates[1] or not gates[t is operands[1]]]
        return self._numbers(followed[0]) if followed else None

    def _write(self, func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """Learn what has been written over, also where that was a part of another tensor."""
        if not args or args[0].is_floating_point() or args[0].dtype == torch.bool:
            return
        target, *rest = args
        kwargs = {k: self._numbers(v) if k in _WRITTEN else v for k, v in kwargs.items()}
        if not kwargs.keys() & _WRITTEN:
            rest[-1] = self._numbers(rest[-1])
        made = self._numbers(target).clone()
        found = func(made, *rest, **kwargs)
        self._learn(target if out is None else out, made if found is None else found)
        whole = target._base
        if whole is not None and (out is None or out is target):
            laid = torch.empty_strided(whole.shape, whole.stride(), dtype=made.dtype, device=made.device)
            laid.copy_(self._numbers(whole))
            first = target.storage_offset() - whole.storage_offset()
            laid.as_strided(target.shape, target.stride(), first).copy_(made)
            self._learn(whole, laid)

    def _numbers(self, value: Any) -> Any:
        """The numbers of the entries of a tensor: -1 where they come from no input."""
        if not isinstance(value, Tensor):
            return -1
        known = self.known.get(id(value))
        return torch.full_like(value, -1, dtype=torch.long) if known is None else known[1]

    def _move(self, func: Callable[..., Any], name: str, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """Learn where the entries went; a followed tensor that is but an index of the call tells nothing."""
        kwargs = dict(kwargs)
        moved, *rest = args or [kwargs.pop("tensors" if "tensors" in kwargs else "input", None)]
        if not self.touches((moved,)):
            return
        if name == "pad":
            rest, kwargs = [rest[0] if rest else kwargs["pad"]], {"value": -1}
        several = isinstance(moved, (tuple, list))
        self._learn(out, func([*map(self._numbers, moved)] if several else self._numbers(moved), *rest, **kwargs))

    def touches(self, args: Any) -> bool:
        """Whether a followed tensor is among the arguments."""
        return any(id(a) in self.known or (isinstance(a, (tuple, list)) and self.touches(a)) for a in args)

    def _index_of_lookup(self, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor | None:
        if name == "embedding":  # ids come first in one spelling, second in others
            return next((t for t in (*args, *kwargs.values()) if id(t) in self.known), None)
        if name in ("getitem", "index") and id(args[0]) not in self.known:
            index = args[1][0] if isinstance(args[1], list) and len(args[1]) == 1 else args[1]
        elif name == "index_select" and args and id(args[0]) not in self.known:
            index = args[2] if len(args) > 2 else kwargs.get("index")
        else:
            return None
        return index if id(index) in self.known else None

    def _lookup(self, origin: Tensor, index: Tensor) -> Lookup | None:
        count = self.firsts[-1]
        row = torch.where(origin >= 0, origin // count, -1)
        position = torch.where(origin >= 0, origin % count, -1)
        met = (bool(((position >= a) & (position < b)).any()) for a, b in pairwise(self.firsts))
        inputs = frozenset(i for i, found in enumerate(met) if found)
        if not inputs:
            return None
        for dim in range(origin.ndim):
            r = row.movedim(dim, 0)
            if len(r) == self.rows and self._in_order(r):
                return Lookup(inputs, position.movedim(dim, 0), dim, False)
        if origin.ndim == 1 and len(origin) % self.rows == 0 and self._in_order(row.view(self.rows, -1)):
            return Lookup(inputs, position.view(self.rows, -1), 0, True)
        refuse(
            "inputs",
            f"token ids that are looked up in an order (index shape {tuple(index.shape)}) that mixes the rows",
            "a lookup whose first dimensions are those of the ids",
            "Explain the embedding layer's output instead: wrt=<name of the layer>.",
        )

    def _in_order(self, row: Tensor) -> bool:
        expected = torch.arange(self.rows, device=row.device).view(-1, *[1] * (row.ndim - 1))
        return bool(((row == expected) | (row == -1)).all())

    def _learn(self, out: Any, origin: Any) -> None:
        if isinstance(out, Tensor):
            self.known[id(out)] = (out, origin)
        elif isinstance(out, (tuple, list)):
            for o, p in zip(out, origin, strict=True):
                self._learn(o, p)


def _is_gate(t: Tensor) -> bool:
    """Whether a tensor holds only zeros and ones, as masks do."""
    return bool(((t == 0) | (t == 1)).all())
