"""`Record`: the results of all operations of one pass, for passes that compute only what differs from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from . import tree as trees
from .operations import spelling, tensors_in


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

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        spelt = spelling(func)
        writes = writes_into(func, args, kwargs)
        if writes:
            target = args[0] if args else None
            if (
                spelt.name == "setitem"
                or kwargs.get("out") is not None
                or (isinstance(target, Tensor) and self._has_other_names(target))
            ):
                raise Unsuited
            if isinstance(target, Tensor):
                self._set_aside(target)
        versions = [t._version for _, t in tensors_in(args, kwargs) if not t.is_inference()]
        out = func(*args, **kwargs)
        if not writes and versions != [t._version for _, t in tensors_in(args, kwargs) if not t.is_inference()]:
            raise Unsuited  # it wrote into an argument, of which its name does not tell
        given = [t for _, t in tensors_in(args, kwargs)]
        for t in (*given, *tensors_of(out)):
            self._sharing.setdefault(storage_of(t), WeakIdKeyDictionary())[t] = True
        if any(True for _ in tensors_of(out)):
            self.kept.append((spelt.name, out))
            for t in tensors_of(out):
                self._at[t] = [*self._at.get(t, []), len(self.kept) - 1]
                if not writes and any(t is g for g in given):
                    self._passed_on[t] = True
        return out

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
    if spelling(func).in_place or kwargs.get("inplace") or kwargs.get("out") is not None:
        return True
    code = getattr(func, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return "inplace" in names and len(args) > names.index("inplace") and bool(args[names.index("inplace")])


def storage_of(t: Tensor) -> int:
    """What tells a tensor's memory from that of others; nothing does for one without memory."""
    try:
        return t.untyped_storage().data_ptr() or -id(t)
    except (NotImplementedError, RuntimeError):
        return -id(t)


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a result: one, or several in tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors_of(v)
