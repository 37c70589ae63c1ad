"""`Watch`: sees every torch call of one forward pass.

It gives parameters to the calls as constants, so that a pass keeps no activations for parameter gradients that nobody
asked for (the model itself is not touched: another thread may be training it); it counts what a pass holds; and it
finds the lookups that integer inputs reach, by following those tensors through views, slices, copies and offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import tree as trees
from .embeddings import open_bag, refuse_ids
from .errors import refuse
from .rules import Rules
from .transforms import bare

# Calls that move or copy the entries of their first argument: applied to the positions, they tell where each went.
_MOVES = frozenset(
    "view reshape flatten ravel unflatten squeeze unsqueeze transpose permute t T mT movedim moveaxis swapaxes"
    " swapdims contiguous clone detach expand expand_as broadcast_to repeat repeat_interleave tile __getitem__"
    " index_select select narrow split tensor_split chunk unbind flip roll cat concat concatenate stack hstack"
    " vstack gather take_along_dim view_as reshape_as pad unfold".split()
)
# Calls that change the entries in place or one by one (offsets, clamps, casts): positions stay.
_ELEMENTWISE = frozenset(
    "to long int type short add sub rsub mul remainder fmod clamp clip masked_fill where floor_divide floordiv cpu cuda"
    " nan_to_num bitwise_and and bitwise_or or bitwise_xor xor".split()
)


@dataclass(frozen=True)
class Lookup:
    """Where the rows of an embedding lookup came from: `positions` has an entry for each looked-up vector."""

    leaf: int  # which integer input
    positions: Tensor  # (B, ...) flat positions within a row of that input; -1 where the model put in a constant
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

    def per_token(self, vectors: Tensor, lead: int, shape: torch.Size) -> Tensor:
        """Sums over the vector dimension, laid out like the input (*lead, B, *shape); tokens met twice add up."""
        rows = vectors.shape[lead]
        positions = self.positions[:rows].reshape(rows, -1).to(vectors.device)
        scores = vectors.reshape(*vectors.shape[: lead + self.positions.ndim], -1).sum(-1)
        scores = scores.reshape(*vectors.shape[: lead + 1], -1)
        scores = torch.where(positions >= 0, scores, 0)
        out = scores.new_zeros(*scores.shape[: lead + 1], shape.numel())
        out = out.scatter_add(-1, positions.clamp(min=0).expand_as(scores), scores)
        return out.view(*out.shape[:-1], *shape)


class Tracker:
    """Follows the integer inputs of one pass to the lookups they reach; `tap` sees, and may replace, the vectors."""

    def __init__(self, rows: int, ids: Sequence[Tensor], tap: Callable[[Lookup, Tensor], Tensor]) -> None:
        self.rows, self.tap = rows, tap
        self.known: dict[int, tuple[Tensor, int, Tensor]] = {}  # id -> the tensor (kept alive), its input, positions
        for leaf, t in enumerate(ids):
            self.known[id(t)] = (t, leaf, torch.arange(t.numel(), device=t.device).view(t.shape))

    def after(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        """`out`, or what takes its place; called after each torch call that has an integer input as an argument."""
        name = getattr(func, "__name__", "").strip("_")
        name = "__getitem__" if name == "getitem" else name.removesuffix("_")
        if name == "get":  # a property such as x.T
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        looked_up = self._index_of_lookup(func, name, args, kwargs)
        if looked_up is not None:
            _, leaf, origin = self.known[id(looked_up)]
            found = self._lookup(leaf, origin, looked_up)
            return found.restore(self.tap(found, found.rows_first(out)))
        if name in _MOVES:
            self._move(func, name, args, kwargs, out)
        elif (
            name in _ELEMENTWISE
            and isinstance(out, Tensor)
            and not (out.is_floating_point() or out.dtype == torch.bool)
        ):
            _, leaf, origin = self._first((*args, *kwargs.values()))
            self._learn(out, origin.expand(out.shape), leaf)
        return out

    def _move(self, func: Callable[..., Any], name: str, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """Learn where the entries went; a followed tensor that is but an index of the call tells nothing."""
        kwargs = dict(kwargs)
        moved, *rest = args or [kwargs.pop("tensors" if "tensors" in kwargs else "input", None)]
        first = self._first((moved,))
        if first is None:
            return
        if name == "pad":
            rest, kwargs = [rest[0] if rest else kwargs["pad"]], {"value": -1}
        several = isinstance(moved, (tuple, list))
        self._learn(out, func(self._joined(moved) if several else first[2], *rest, **kwargs), first[1])

    def touches(self, args: Any) -> bool:
        """Whether a followed tensor is among the arguments."""
        return any(id(a) in self.known or (isinstance(a, (tuple, list)) and self.touches(a)) for a in args)

    def _index_of_lookup(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor | None:
        if func is F.embedding:
            index = args[0] if args else kwargs.get("input")
        elif func is torch.embedding or (
            name == "__getitem__" and id(args[0]) not in self.known and isinstance(args[1], Tensor)
        ):
            index = args[1]
        elif name == "index_select" and args and id(args[0]) not in self.known:
            index = args[2] if len(args) > 2 else kwargs.get("index")
        else:
            return None
        return index if id(index) in self.known else None

    def _lookup(self, leaf: int, origin: Tensor, index: Tensor) -> Lookup:
        per_row = next(t for t, number, _ in self.known.values() if number == leaf).numel() // self.rows
        row = torch.where(origin >= 0, origin // per_row, -1)
        position = torch.where(origin >= 0, origin % per_row, -1)
        for dim in range(origin.ndim):
            r = row.movedim(dim, 0)
            if len(r) == self.rows and self._in_order(r):
                return Lookup(leaf, position.movedim(dim, 0), dim, False)
        if origin.ndim == 1 and len(origin) % self.rows == 0 and self._in_order(row.view(self.rows, -1)):
            return Lookup(leaf, position.view(self.rows, -1), 0, True)
        refuse(
            "inputs",
            f"token ids that are looked up in an order (index shape {tuple(index.shape)}) that mixes the rows",
            "a lookup whose first dimensions are those of the ids",
            "Explain the embedding layer's output instead: wrt=<name of the layer>.",
        )

    def _in_order(self, row: Tensor) -> bool:
        expected = torch.arange(self.rows, device=row.device).view(-1, *[1] * (row.ndim - 1))
        return bool(((row == expected) | (row == -1)).all())

    def _learn(self, out: Any, origin: Any, leaf: int) -> None:
        if isinstance(out, Tensor):
            self.known[id(out)] = (out, leaf, origin)
        elif isinstance(out, (tuple, list)):
            for o, p in zip(out, origin, strict=True):
                self._learn(o, p, leaf)

    def _joined(self, tensors: Any) -> list[Any]:
        """The positions of each; entries that the model joins to them have -1."""
        return [
            self.known[id(t)][2] if id(t) in self.known else torch.full_like(t, -1, dtype=torch.long) for t in tensors
        ]

    def _first(self, args: Any) -> Any:
        for a in args:
            if id(a) in self.known:
                return self.known[id(a)]
            found = self._first(a) if isinstance(a, (tuple, list)) else None
            if found is not None:
                return found
        return None


_NEVER = frozenset((Tensor, bool, int, float, type(None)))  # types of arguments that are and hold no parameter


class Constants(dict[int, tuple[Tensor, Tensor]]):
    """Parameters by id, each with a detached alias; `light` where too little is kept for them to matter."""

    def __init__(self, light: bool = False) -> None:
        super().__init__()
        self.light = light


@dataclass
class Load:
    """What a pass needs of memory: the tensors that its graph may keep (storage: bytes), and the largest of all."""

    kept: dict[int, int] = field(default_factory=dict)
    largest: int = 0

    def add(self, t: Tensor) -> None:
        """Count a tensor that a call returned; a sparse one does not say what it takes."""
        t = bare(t)
        if t.layout is not torch.strided:
            return
        storage = t.untyped_storage()
        self.largest = max(self.largest, storage.nbytes())
        if t.requires_grad:
            self.kept[storage.data_ptr()] = storage.nbytes()


class Watch(TorchFunctionMode):
    """The mode under which forward passes run."""

    def __init__(
        self,
        constants: Constants | None,
        tracker: Tracker | None,
        measure: bool,
        stand_ins: Mapping[int, Tensor] = MappingProxyType({}),
        rules: Rules | None = None,
    ) -> None:
        super().__init__()
        self.rules = rules  # asked by this mode rather than entered beside it: a call then passes one mode, not two
        self.constants = constants
        self.tracker = tracker
        self.stand_ins = stand_ins  # by id, tensors that calls are given in the place of others
        self.load = Load() if measure else None

    def __enter__(self) -> Watch:
        super().__enter__()  # type: ignore[no-untyped-call]
        if self.rules is not None:
            self.rules.begin()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.stand_ins:
            args, kwargs = trees.map_tree(self._stand_in, tuple(args)), trees.map_tree(self._stand_in, kwargs)
        if self.constants is not None:
            args = [self._constant(a) for a in args]
            if kwargs:
                kwargs = {k: self._constant(v) for k, v in kwargs.items()}
        tracked = self.tracker is not None and (self.tracker.touches(args) or self.tracker.touches(kwargs.values()))
        if tracked and func is F.embedding_bag:
            with self:
                return open_bag(*args, **kwargs)
        try:
            out = func(*args, **kwargs) if self.rules is None else self.rules.met(func, args, kwargs)
        except IndexError as error:
            if tracked:
                refuse_ids(args, kwargs, error)
            raise
        if self.load is not None and isinstance(out, Tensor):
            self.load.add(out)
        if tracked and self.tracker is not None:
            out = self.tracker.after(func, args, kwargs, out)
            if self.rules is not None:
                self.rules.begin()  # what has been done with the lookup is no code of the model
        return out

    def _stand_in(self, a: Any) -> Any:
        return self.stand_ins.get(id(a), a) if isinstance(a, Tensor) else a

    def _constant(self, a: Any) -> Any:
        if type(a) in _NEVER:
            return a
        if issubclass(type(a), nn.Parameter):
            kept = self.constants.get(id(a)) if self.constants is not None else None
            if kept is None or kept[0] is not a:  # asked first: reading a property of a tensor is an operation to modes
                if not a.requires_grad:
                    return a
                kept = (a, a.detach())
                self.constants[id(a)] = kept  # type: ignore[index]
            return kept[1]
        if isinstance(a, (list, tuple)) and a and any(issubclass(type(t), nn.Parameter) for t in a):
            return type(a)([self._constant(t) for t in a])
        return a
