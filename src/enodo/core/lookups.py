"""`Tracker`: follows token ids from the inputs of a pass to the embedding lookups that they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from .errors import refuse
from .operations import parts, spelling, tensors_in

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
# Calls whose result is made of both operands, and of many entries; no count or place of them.
_COMBINING = frozenset("add sub rsub mul remainder bitwise_and and bitwise_or or bitwise_xor xor".split())
_MIXING = frozenset("sum cumsum prod cumprod matmul mm bmm mv dot einsum tensordot".split())
# Calls that lead ids to numbers past any embedding, as do those of `_ELEMENTWISE` whose result is floating-point.
_ASIDE = frozenset("div float double half bfloat16 type_as sort one_hot bucketize searchsorted take".split())
_MIXED = -2  # the number of what is made of many entries of input 0, -3 of input 1 ...; -1 is of none


@dataclass(frozen=True)
class Lookup:
    """Where the vectors of an embedding lookup came from.

    `positions` has an entry for each vector: which of the integers of its row it is of, those of all integer inputs
    counted one after the other. A vector of an id that is made of several is of all of them alike: `makers` has them.
    """

    inputs: frozenset[int]  # which integer inputs
    positions: Tensor  # (B, ...); -1 where the model put in a constant
    dim: int  # the dimension of the index tensor that counts the rows
    flat: bool  # whether rows and positions were one dimension
    makers: Tensor | None = None  # (B, ..., K), -1 where there are fewer; None where each vector is of one integer

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
        scores = vectors.reshape(*vectors.shape[: lead + self.positions.ndim], -1).sum(-1)
        scores = scores.reshape(*vectors.shape[: lead + 1], -1, 1)
        positions = self.positions[..., None] if self.makers is None else self.makers
        positions = positions[:rows].reshape(rows, -1, positions.shape[-1]).to(vectors.device)
        met = positions >= 0
        scores = torch.where(met, scores / met.sum(-1, keepdim=True).clamp(min=1), 0).flatten(-2)
        out = scores.new_zeros(*scores.shape[: lead + 1], count)
        return out.scatter_add(-1, positions.flatten(-2).clamp(min=0).expand_as(scores), scores)


class Tracker:
    """Follows the integer inputs of one pass to the lookups they reach; `tap` sees, and may replace, the vectors.

    Each entry of a tensor that is followed has a number, which tells its row and its place among the integers of that
    row. So what the model joins of several inputs, or writes into a tensor of its own, is followed like all else.
    """

    def __init__(
        self, rows: int, ids: Sequence[Tensor], tap: Callable[[Lookup, Tensor], Tensor], aside: set[tuple[int, str]]
    ) -> None:
        self.rows, self.ids, self.tap = rows, ids, tap
        self.known: dict[int, tuple[Tensor, Tensor]] = {}  # id -> the tensor (kept alive), its numbers
        self.firsts = list(accumulate((t.numel() // rows for t in ids), initial=0))  # of each input; their count
        self.made: list[tuple[int, ...]] = []  # the makers of ids made of several, which are numbered after all others
        self.aside = aside  # filled with the integer inputs that calls lead to numbers and not to a lookup
        for t, first in zip(ids, self.firsts, strict=False):
            row = torch.arange(rows, device=t.device).view(-1, *[1] * (t.ndim - 1)) * self.firsts[-1] + first
            self._learn(t, row + torch.arange(t[0].numel(), device=t.device).view(t.shape[1:]))

    def after(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        """`out`, or what takes its place; called after each torch call that has an integer input as an argument."""
        name = spelling(func).name
        index = self._index_of_lookup(name, args, kwargs)
        if index is not None and out.is_floating_point():
            found = self._lookup(name, self.known[id(index)][1], index)
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
        elif name in _MIXING or name in _ELEMENTWISE or name in _ASIDE:
            self._end(name, args, kwargs, out)
        return out

    def _end(self, name: str, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """Take note of ids that end in many, or in numbers; masks are counted and multiplied with."""
        out = parts(out)[0]
        for _, t in tensors_in(args, kwargs):
            if id(t) in self.known and isinstance(out, Tensor) and out.dtype != torch.bool and not _is_gate(t):
                inputs = self.inputs_in(self._all_makers(self.known[id(t)][1]))
                if name in _MIXING and not out.is_floating_point():
                    self._learn(out, torch.full_like(out, _MIXED - min(inputs, default=0), dtype=torch.long))
                else:
                    self.aside.update((number, name) for number in inputs)

    def inputs_in(self, numbers: Tensor) -> frozenset[int]:
        """The integer inputs that numbers, or positions in a row, are of."""
        places = torch.where(numbers >= 0, numbers % self.firsts[-1], -1)
        met = (bool(((places >= a) & (places < b)).any()) for a, b in pairwise(self.firsts))
        return frozenset(i for i, found in enumerate(met) if found)

    def _changed(self, name: str, operands: list[Tensor]) -> Tensor | None:
        """The numbers of entries changed one by one, or made of two.

        Positions that a model counts in a padding mask, and takes times that mask, are not made of the mask's entries.
        """
        followed = [t for t in operands if id(t) in self.known]
        if name == "where" and len(followed) > 1:
            condition, a, b = operands
            return torch.where(condition, self._numbers(a), self._numbers(b))
        if name in _GATED and len(operands) == 2 and operands[0].shape == operands[1].shape:
            gates = [_is_gate(t) for t in operands]
            followed = [t for t in followed if gates[0] == gates[1] or not gates[t is operands[1]]]
        if name in _COMBINING and len(followed) > 1:
            return self._together(*map(self._numbers, followed))
        return self._numbers(followed[0]) if followed else None

    def _together(self, a: Tensor, b: Tensor) -> Tensor:
        """The numbers of what is made of two: of an id and a mask it is the id's, of two ids a new one."""
        a, b = torch.broadcast_tensors(a, b)
        whole = self.firsts[-1]
        masks = torch.cat([torch.full((t.numel() // self.rows,), _is_gate(t), device=a.device) for t in self.ids])
        mask_a, mask_b = ((n < self.rows * whole) & masks[n % whole] for n in (a, b))
        a_only = (b == -1) | (a == b) | (a <= _MIXED) | (mask_b & ~mask_a & (a >= 0))
        b_only = (a == -1) | (b <= _MIXED) | (mask_a & ~mask_b & (b >= 0))
        out = torch.where(a_only, a, b)
        two = ~(a_only | b_only)
        pairs, which = torch.stack([a[two], b[two]], 1).unique(dim=0, return_inverse=True)
        out[two] = which + self.rows * whole + len(self.made)
        self.made += [tuple(sorted({*self._makers(m), *self._makers(n)})) for m, n in pairs.tolist()]
        return out

    def _makers(self, number: int) -> tuple[int, ...]:
        """The numbers of the integers that one number stands for."""
        first = self.rows * self.firsts[-1]
        return self.made[number - first] if number >= first else (number,)

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
            return self._end(name, args, kwargs, out)
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

    def _lookup(self, name: str, origin: Tensor, index: Tensor) -> Lookup | None:
        count = self.firsts[-1]
        if name != "embedding" and bool((origin <= _MIXED).any()):  # perhaps of values at places that were counted
            self.aside.add((_MIXED - int(origin.min()), name))
            return None
        if bool((origin <= _MIXED).any()):
            given = "ids that the model makes of many (a sum, a product of matrices) and looks up"
            instead = "Explain the embedding layer's output instead: wrt=<name of the layer>."
            refuse("inputs", given, "ids each of which is made of one token, or of a few entry by entry", instead)
        numbers = self._all_makers(origin)
        row = torch.where(numbers >= 0, numbers // count, -1)
        position = torch.where(numbers >= 0, numbers % count, -1)
        inputs = self.inputs_in(position)
        if not inputs:
            return None
        makers = position if position.shape[-1] > 1 else None
        for dim in range(origin.ndim):
            r = row.movedim(dim, 0)
            if len(r) == self.rows and self._in_order(r):
                makers = makers if makers is None else makers.movedim(dim, 0)
                return Lookup(inputs, position[..., 0].movedim(dim, 0), dim, False, makers)
        if origin.ndim == 1 and len(origin) % self.rows == 0 and self._in_order(row.view(self.rows, -1)):
            makers = makers if makers is None else makers.view(self.rows, -1, makers.shape[-1])
            return Lookup(inputs, position[:, 0].view(self.rows, -1), 0, True, makers)
        refuse(
            "inputs",
            f"token ids that are looked up in an order (index shape {tuple(index.shape)}) that mixes the rows",
            "a lookup whose first dimensions are those of the ids",
            "Explain the embedding layer's output instead: wrt=<name of the layer>.",
        )

    def _all_makers(self, origin: Tensor) -> Tensor:
        """For each entry the numbers of all integers that it is made of, (..., K); -1 where there are fewer."""
        if not self.made:
            return origin[..., None]
        first, most = self.rows * self.firsts[-1], max(map(len, self.made))
        table = [[*makers, *[-1] * (most - len(makers))] for makers in self.made]
        several = torch.tensor(table, device=origin.device)[(origin - first).clamp(min=0)]
        one = torch.nn.functional.pad(origin[..., None], (0, most - 1), value=-1)
        found = torch.where((origin >= first)[..., None], several, one)
        return found[..., : int((found >= 0).sum(-1).max().clamp(min=1))]

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
