"""`Point`: a place in a model; and the one file that knows module hooks.

A place is named by a string, a module or a `Point`:

* ``INPUT``, ``OUTPUT``: what the model is given and what it returns; ``INPUT["input_ids"]`` is one entry of it.
* ``EMBEDDING``: the vectors that integer inputs (token ids) are looked up as.
* ``"encoder.layer.3"`` or a module: the output of that layer; ``"encoder.layer.3:in"`` its input.
* ``"lstm[0]"``, ``Point("lstm")[1][0]``: a part of a nested value.
* ``"cell@2"``, ``Point("cell", call=2)``: the third call of a layer that runs several times. Without ``call`` it is the
  last call, and the result carries a note that says so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import tree as trees
from .errors import BadArgument, BadType, describe, nearest, refuse
from .threads import cached_property

SIDES = ("in", "out", "input", "output", "embedding")
_SPELLING = re.compile(r"(?P<name>[^:@\[\]]*)(@(?P<call>-?\d+))?(:(?P<side>\w+))?(?P<path>(\[[^\[\]]*\])*)")


@dataclass(frozen=True)
class Point:
    """A place in a model: `side` ("in" or "out") of `layer`, at its `call`-th run, at `path` within a nested value."""

    layer: nn.Module | str | None = None
    side: str = "out"
    call: int | None = None
    path: trees.Path = ()

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            refuse("side", repr(self.side), f"one of {', '.join(map(repr, SIDES))}", 'Write Point(layer, side="in").')
        if not isinstance(self.layer, (nn.Module, str, type(None))):
            refuse("layer", self.layer, "a layer's dotted name, or the module", kind=BadType)
        if self.call is not None and self.call < -1:
            refuse("call", self.call, "the number of a call, from 0, or -1 for the last")

    def __getitem__(self, key: Any) -> Point:
        return replace(self, path=(*self.path, key))

    @cached_property
    def spelling(self) -> str:
        """What `Point.parse` reads."""
        where = trees.spell(self.path)
        if self.layer is None:
            return self.side.upper() + where
        name = self.layer if isinstance(self.layer, str) else type(self.layer).__name__
        return name + ("" if self.call is None else f"@{self.call}") + (":in" if self.side == "in" else "") + where

    def __str__(self) -> str:
        return self.spelling

    def bound(self, layer: nn.Module) -> Point:
        """The same place, of which the layer is known by more than its name."""
        new = object.__new__(Point)  # this one's fields have been checked
        new.__dict__.update(layer=layer, side=self.side, call=self.call, path=self.path)
        return new

    @staticmethod
    def parse(spec: Point | str | nn.Module) -> Point:
        """A Point from any way to name one."""
        if isinstance(spec, Point):
            return spec
        if isinstance(spec, nn.Module):
            return Point(spec)
        if not isinstance(spec, str):
            refuse("wrt or of", spec, "a layer name, a module or a Point", 'For example "layer1.0:in".', BadType)
        return _spelt(spec)


@lru_cache(maxsize=1024)
def _spelt(spec: str) -> Point:
    match = _SPELLING.fullmatch(spec)
    if match is None:
        refuse("wrt or of", repr(spec), 'a place like "layer1.0", "layer1.0:in", "cell@2" or "lstm[0]"')
    keys = re.findall(r"\[([^\[\]]*)\]", match["path"])
    path = tuple(ast.literal_eval(k) if re.fullmatch(r"-?\d+|'[^']*'|\"[^\"]*\"", k) else k for k in keys)
    if match["name"].upper() in ("INPUT", "OUTPUT", "EMBEDDING") and match["side"] is None:
        return Point(side=match["name"].lower(), path=path)
    call = None if match["call"] is None else int(match["call"])
    return Point(match["name"], match["side"] or "out", call, path)


INPUT, OUTPUT, EMBEDDING = Point(side="input"), Point(side="output"), Point(side="embedding")


def locate(spec: Point | str | nn.Module, model: Any, argument: str) -> tuple[Point, str]:
    """The Point with its module found in `model`, and its spelling by name."""
    if spec is INPUT or spec is OUTPUT:
        return spec, spec.side.upper()
    point = Point.parse(spec)
    if point.layer is None:
        return point, str(point)
    if not isinstance(model, nn.Module):
        if isinstance(point.layer, nn.Module):
            return point, str(point)
        refuse(argument, repr(point.layer), "a module, since the model is a plain function and has no layer names")
    if isinstance(point.layer, str) and (layer := _submodule(model, point.layer)) is not None:
        return point.bound(layer), point.spelling
    known = dict(model.named_modules())
    if isinstance(point.layer, nn.Module):
        name = next((n for n, m in known.items() if m is point.layer), None)
        # a module may run without being registered (kept in a list, say); one that does not run is refused then
        return point, str(point if name is None else replace(point, layer=name))
    refuse(argument, repr(point.layer), "the dotted name of a layer", nearest(point.layer, filter(None, known)))


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    """The layer of a dotted name, by its parents' own lists; None where there is none."""
    layer: nn.Module | None = model
    for part in name.split(".") if name else ():
        layer = None if layer is None or part not in layer._modules else layer._modules[part]
    return layer


class Stop(BaseException):
    """Leaves a forward pass early, when all that was asked for has been seen. No `except Exception` swallows it."""


# Hooks are seen by every thread that runs the model: ours act only in the pass that set this variable.
_current: ContextVar[object] = ContextVar("enodo_current_pass", default=None)

Seen = Callable[[Any, int], Any]  # of the value at a place and the number of the call; gives what takes its place


class Watched:
    """While inside, everything that this thread runs is one pass, in which layers show their values.

    Each run of a layer calls the function beside its Point with what lies at `side` and `path` there.
    """

    __slots__ = ("before", "handles", "layers")

    def __init__(self, layers: Sequence[tuple[Point, Seen]]) -> None:
        self.layers = layers
        self.handles: list[RemovableHandle] = []

    def __enter__(self) -> Watched:
        self.before = _current.set(self)
        try:
            for point, fn in self.layers:
                self.handles.append(self._hook(point, fn))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()
        _current.reset(self.before)

    def _hook(self, point: Point, fn: Seen) -> RemovableHandle:
        runs, path = 0, point.path
        layer: Any = point.layer
        if isinstance(layer, torch.jit.ScriptModule):
            given = f"{point}, a layer of a TorchScript model"
            refuse("wrt or of", given, "the inputs, or the model before it was scripted")

        def visit(value: Any) -> Any:
            nonlocal runs
            runs += 1
            if not path:
                return fn(value, runs - 1)
            return trees.put(value, path, fn(part_of(value, point), runs - 1))

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
            if _current.get() is not self:  # another thread, which may even call a hook half registered, without kwargs
                return None
            if kwargs:
                *args_, kwargs_ = visit((*args, kwargs)) if args else [visit(kwargs)]
                return tuple(args_), kwargs_
            return (visit(args[0]),) if len(args) == 1 else visit(args), kwargs

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return visit(output) if _current.get() is self else None

        if point.side == "in":
            return cast(RemovableHandle, layer.register_forward_pre_hook(before, with_kwargs=True))
        return cast(RemovableHandle, layer.register_forward_hook(after))


def is_hooked(layer: nn.Module) -> bool:
    """Whether a layer does more than its class says."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def on_gradient(t: Tensor, fn: Callable[[Tensor], None]) -> None:
    """Have each gradient that reaches a tensor of a graph told to `fn`."""

    def tell(g: Tensor | None) -> None:
        if g is not None:  # as of operations that have no derivative
            fn(g)  # what it returns does not take the gradient's place

    t.register_hook(tell)


def part_of(value: Any, point: Point) -> Any:
    """The part of a nested value that `point` selects."""
    if not point.path:
        return value
    try:
        return trees.get(value, point.path)
    except (KeyError, IndexError, AttributeError, TypeError):
        raise BadArgument(
            "wrt or of", f"{point}, where the value is {describe(value)}", "a path that exists within the value"
        ) from None


def bend(t: Tensor, fn: Callable[[Tensor], Tensor]) -> None:
    """Have `fn` change the gradient of a value that has just been computed, before it goes on, where one arrives.

    The node is told rather than the tensor, whose hooks take as long as an operation to make.
    """
    cast(Any, t.grad_fn).register_prehook(_bent(fn, t.output_nr))


@lru_cache(maxsize=64)
def _bent(fn: Callable[[Tensor], Tensor], nr: int) -> Callable[[Any], Any]:
    """What changes one of the gradients that a node is given."""

    def bent(gs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        g = gs[nr]
        if g is None:
            return gs
        return (fn(g),) if len(gs) == 1 else (*gs[:nr], fn(g), *gs[nr + 1 :])

    return bent
