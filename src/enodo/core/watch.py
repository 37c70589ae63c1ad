"""`Watch`: sees every torch call of one forward pass.

It gives parameters to the calls as constants, so that a pass keeps no activations for parameter gradients that nobody
asked for (the model itself is not touched: another thread may be training it); it counts what a pass holds; and it
finds the lookups that integer inputs reach, by following those tensors through views, slices, copies and offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import tree as trees
from .embeddings import open_bag, refuse_ids
from .lookups import Tracker
from .operations import parts
from .points import bend
from .products import done
from .rules import Rules
from .transforms import bare, storage_of

# torch 2.13 misreads the gradient (1, C, h, w) of one row that attention has laid out among tokens, (1, h w, C), as one
# with channels last: on a CPU, what goes back from a norm of fixed statistics is then another gradient.
MISREAD = frozenset(
    (
        F.batch_norm, torch.batch_norm, torch.native_batch_norm, F.instance_norm, torch.instance_norm,
        torch.ops.aten.batch_norm.default, torch.ops.aten.instance_norm.default,
        torch.ops.aten.native_batch_norm.default, torch.ops.aten._native_batch_norm_legit_no_training.default,
    )
)  # fmt: skip
# What models ask of nearly every tensor, and what stands in for it answers alike.
_ASKED = frozenset(
    (Tensor.dim, Tensor.size, *(getattr(Tensor, n).__get__ for n in ("shape", "ndim", "dtype", "device")))
)
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
        size = t.untyped_storage().nbytes()
        self.largest = max(self.largest, size)
        if t.requires_grad:
            self.kept[storage_of(t)] = size


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
        # whether gradients go back through the pass, and not only tell rules what is on their path
        self._pulls = rules is None or rules.record is None or rules.record.keep

    def __enter__(self) -> Watch:
        super().__enter__()  # type: ignore[no-untyped-call]
        if self.rules is not None:
            self.rules.begin()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ASKED:
            return func(*args, **kwargs or {})
        kwargs = kwargs or {}
        if self.stand_ins:
            args, kwargs = trees.map_tree(self._stand_in, tuple(args)), trees.map_tree(self._stand_in, kwargs)
        if self.constants is not None:
            args, kwargs = self._frozen(args, kwargs, self.constants.get)
        tracked = self.tracker is not None and (self.tracker.touches(args) or self.tracker.touches(kwargs.values()))
        if tracked and func is F.embedding_bag:
            with self:
                return open_bag(*args, **kwargs)
        try:
            out = done(func, args, kwargs) if self.rules is None else self.rules.met(func, args, kwargs)
        except IndexError as error:
            if tracked:
                refuse_ids(args, kwargs, error)
            raise
        if func in MISREAD and self._pulls:
            normed = parts(out)[0]
            if normed.requires_grad and normed.shape[0] == 1:
                bend(normed, Tensor.contiguous)
        if self.load is not None and isinstance(out, Tensor):
            self.load.add(out)
        if tracked and self.tracker is not None:
            out = self.tracker.after(func, args, kwargs, out)
            if self.rules is not None:
                self.rules.begin()  # what has been done with the lookup is no code of the model
        return out

    def _frozen(self, args: Any, kwargs: Any, known: Any) -> tuple[Any, Any]:
        """Arguments with constants in the place of parameters; `known`: by id, of parameters that are kept alive."""
        for a in args:  # in loops of our own: sets are asked as many things in twice the time
            if type(a) not in _NEVER:
                args = [a if type(a) in _NEVER else (known(id(a)) or (a, self._constant(a)))[1] for a in args]
                break
        for a in kwargs.values():
            if type(a) not in _NEVER:
                kwargs = {k: v if type(v) in _NEVER else self._constant(v) for k, v in kwargs.items()}
                break
        return args, kwargs

    def _stand_in(self, a: Any) -> Any:
        return self.stand_ins.get(id(a), a) if isinstance(a, Tensor) else a

    def _constant(self, a: Any) -> Any:
        if isinstance(a, (tuple, list)):
            if not _NEVER.issuperset(map(type, a)) and any(issubclass(type(t), nn.Parameter) for t in a):
                return type(a)([self._constant(t) for t in a])
        elif self.constants is not None and issubclass(type(a), nn.Parameter):
            kept = self.constants.get(id(a))
            if kept is None:  # asked first: reading a property of a tensor is an operation to modes
                if not a.requires_grad:
                    return a
                kept = self.constants[id(a)] = (a, a.detach())
            return kept[1]
        return a
