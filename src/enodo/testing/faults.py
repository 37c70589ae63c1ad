"""A model that counts its passes and rows, and fails where it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core import tree as trees


class Fault(Exception):
    """The exception that a test plants."""


@dataclass
class Meter:
    """What was counted while a model was watched; `at` is called before each event counts, and may raise."""

    at: Callable[[str, int], None] = lambda kind, rows: None
    counts: dict[str, int] = field(default_factory=dict)
    largest: int = 0  # rows of the largest pass

    def event(self, kind: str, rows: int = 0) -> None:
        """Count one more event: "forward" of the model, "layer" (a module within it has run) or "backward"."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "forward":
            self.largest = max(self.largest, rows)
        self.at(kind, rows)

    def fail(self, kind: str, number: int, error: BaseException) -> Meter:
        """Raise `error` at the event of this number, from 1, of one kind."""

        def at(now: str, rows: int) -> None:
            if now == kind and self.counts[kind] == number:
                raise error

        self.at = at
        return self


class _Tripwire(torch.autograd.Function):
    """The identity; tells a meter when gradients come back through it."""

    linear = True  # so that rules need not see into it

    @staticmethod
    def forward(ctx: Any, t: Tensor, meter: Meter, rows: int) -> Tensor:
        ctx.meter, ctx.rows = meter, rows
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        ctx.meter.event("backward", ctx.rows)
        return grads[0].clone(), None, None


def _rows(*trees_: Any) -> int:
    """Rows of the first tensor found."""
    return next((len(t) for tree in trees_ for _, t in trees.leaves(tree) if isinstance(t, Tensor) and t.ndim), 0)


@contextmanager
def metered(model: Callable[..., Any], meter: Meter) -> Iterator[Callable[..., Any]]:
    """The model, counted by `meter` until the end of the block; a module is the same object, watched from within."""
    owner = threading.get_ident()

    def watched(forward: Callable[..., Any], whole: bool) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != owner:
                return forward(*args, **kwargs)
            if whole:
                meter.event("forward", _rows(args, kwargs))
            out = forward(*args, **kwargs)
            meter.event("layer")
            rows = _rows(args, kwargs)
            return trees.map_tree(lambda t: wired(t, rows), out) if whole else out

        return run

    def wired(t: Any, rows: int) -> Any:
        wire: Any = _Tripwire.apply
        return wire(t, meter, rows) if isinstance(t, Tensor) and t.requires_grad else t

    if not isinstance(model, nn.Module):
        yield watched(model, True)
        return
    own = {m: vars(m).get("forward") for m in model.modules()}
    for module in own:
        object.__setattr__(module, "forward", watched(module.forward, module is model))
    try:
        yield model
    finally:
        for module, forward in own.items():
            if forward is None:
                object.__delattr__(module, "forward")
            else:
                object.__setattr__(module, "forward", forward)
