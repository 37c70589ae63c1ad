"""`Record`: the results of all operations of one pass, for passes that compute only what differs from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from . import tree as trees
from .operations import rests, spelling, tensors_in
from .products import done
from .transforms import storage_of


class Unsuited(Exception):
    """The pass cannot be made in part."""


def now(found: Any) -> Tensor:
    """What a pass found, where it is not still to come: from a thread that no mode sees."""
    if not isinstance(found, Tensor):
        raise Unsuited
    return found


class Record(TorchFunctionMode):
    """The results of all operations of a pass at one row."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, Any]] = []
        self._at: WeakIdKeyDictionary = WeakIdKeyDictionary()  # where a tensor is kept
        self._sharing: dict[int, WeakIdKeyDictionary] = {}  # the tensors that lie in one storage
        self._passed_on: WeakIdKeyDictionary = WeakIdKeyDictionary()  # what a call that writes nothing gave back itself
        self.before: WeakIdKeyDictionary = WeakIdKeyDictionary()  # met, and made by no operation in sight
        self._versions: WeakIdKeyDictionary = WeakIdKeyDictionary()  # how often each tensor was written into, in sight

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        spelt = spelling(func)
        writes = writes_into(func, args, kwargs)
        given = [t for _, t in tensors_in(args, kwargs)]
        for t in given:
            if t not in self._at:
                self.before[t] = True
            self._versions.setdefault(t, version_of(t))
        if writes:
            target = args[0] if args else None
            if not isinstance(target, Tensor) or spelt.name == "setitem" or kwargs.get("out") is not None:
                raise Unsuited
            if self._has_other_names(target):
                raise Unsuited
            self._set_aside(target)
        out = done(func, args, kwargs)
        for t in given if writes else ():
            self._versions[t] = version_of(t)
        for t in tensors_of(out):
            self._versions.setdefault(t, version_of(t))
        for t in (*given, *tensors_of(out)):
            self._sharing.setdefault(storage_of(t), WeakIdKeyDictionary())[t] = True
        if any(True for _ in tensors_of(out)):
            self.kept.append((spelt.name, out))
            for t in tensors_of(out):
                self._at[t] = [*self._at.get(t, []), len(self.kept) - 1]
                if not writes and any(t is g for g in given):
                    self._passed_on[t] = True
        return out

    def ended(self) -> None:
        """Nothing may have been written into but by operations whose names tell of it."""
        if any(version_of(t) != version for t, version in self._versions.items()):
            raise Unsuited

    def lay(self, order: torch.memory_format) -> None:
        """Have the maps (1, C, H, W) that are kept lie in memory in this order."""

        def laid(t: Any) -> Any:
            return t.contiguous(memory_format=order) if isinstance(t, Tensor) and t.ndim == 4 else t

        self.kept = [(name, trees.map_tree(laid, out)) for name, out in self.kept]

    def _set_aside(self, target: Tensor) -> None:
        """Keep a copy of what is about to be written into; results of it that were kept before have theirs already."""
        kept = self._at.pop(target, ())
        copy = target.clone() if kept else target
        for index in kept:
            name, out = self.kept[index]
            self.kept[index] = name, trees.map_tree(lambda t: copy if t is target else t, out)

    def _has_other_names(self, t: Tensor) -> bool:
        """Whether what is written into this tensor would be seen in others that a pass in part keeps beside it."""
        others = self._sharing.get(storage_of(t), ())
        return t._is_view() or t in self._passed_on or any(other is not t for other in others)

    def tensors(self) -> Iterator[Tensor]:
        """All that is kept."""
        for _, out in self.kept:
            yield from tensors_of(out)


def writes_into(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call writes into its first argument (or another)."""
    if rests(spelling(func).name, args, kwargs):
        return False
    if spelling(func).in_place or kwargs.get("inplace") or kwargs.get("out") is not None:
        return True
    code = getattr(func, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return "inplace" in names and len(args) > names.index("inplace") and bool(args[names.index("inplace")])


def version_of(t: Tensor) -> int:
    """How often a tensor was written into; one of inference mode does not tell."""
    return -1 if t.is_inference() else t._version


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a result: one, or several in tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors_of(v)
