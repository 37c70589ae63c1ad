"""`Layer`: an operation with weights, y = w x + b, as rules of relevance see it; with a batch norm merged into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import Bound, is_live
from enodo.core.tables import Op, Pull, Rule, UnknownOperation
from enodo.core.transforms import bare

DENSE = ("linear",)
CONVOLUTIONS = tuple(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))
PRODUCTS = ("matmul", "mm", "bmm", "mv", "grouped_mm")  # with a constant, a dense layer without bias
SUMMED = ("addmm", "baddbmm", "addmv")  # which have their bias first
WEIGHTED = frozenset((*DENSE, *CONVOLUTIONS, *PRODUCTS, *SUMMED))
TINY = 1e-12  # below which a number is taken for zero where it divides

Pulled = Callable[[Tensor], Tensor]


@dataclass
class Layer:
    """The operation at its values; what rules ask of it are its linear part and the transposed of that."""

    x: Tensor
    weights: Tensor
    b: Tensor | None  # broadcasts against y
    y: Tensor
    run: Callable[[Tensor, Tensor], Tensor]  # the linear part for some x, w
    back: Pulled  # the transposed of the linear part at w
    lost: list[Tensor] | None = None  # what of the relevance of y neither values nor biases get, once pulled back
    measured: bool = False  # whether that is to be known where knowing it costs something

    def through(self, x: Tensor, w: Tensor) -> tuple[Tensor, Pulled]:
        """The linear part for some x and w, and its transposed."""
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            out = self.run(at, w)

        def pull(s: Tensor) -> Tensor:
            return torch.autograd.grad(out, at, s, retain_graph=True, create_graph=torch.is_grad_enabled())[0]

        return (self.run(x, w) if keep else out.detach()), pull

    def keep(self, relevance: Tensor) -> None:
        """Have it known that some relevance of y is lost."""
        if self.lost is not None:
            self.lost.append(bare(relevance).detach().sum())

    @property
    def w(self) -> Tensor:
        """The weights; of a sparse matrix also its zeros."""
        return self.weights.to_dense()

    @property
    def linear(self) -> Tensor:
        """y - b."""
        return self.y if self.b is None else self.y - self.b

    def biases(self, wanted: bool) -> Any:
        """b, or nothing."""
        return 0 if self.b is None or not wanted else self.b

    @property
    def signed(self) -> bool:
        """Whether x has negative entries; activations after a ReLU save a rule half its work."""
        return bool(self.x.numel()) and bool(self.x.amin() < 0)

    def normed(self, factors: tuple[Tensor, Tensor], y: Tensor, shape: tuple[int, bool]) -> Layer:
        """The layer with a batch norm after it, scale and shift (C,); `shape`: its groups, and whether transposed."""
        scale, shift = factors
        w = by_output(self.w, scale, *shape)
        wide, deep = by_channel(scale, self.y.ndim), by_channel(shift, self.y.ndim)
        b = deep if self.b is None else self.b * wide + deep
        return replace(self, weights=w, b=b, y=y, back=lambda g: self.back(g * wide))

    def after_norm(self, x: Tensor, factors: tuple[Tensor, Tensor], shape: tuple[int, bool]) -> Layer:
        """The layer with a batch norm of x before it; where the layer pads, its bias depends on the place."""
        scale, shift = factors
        w = by_input(self.w, scale, *shape)
        wide = by_channel(scale, self.x.ndim)
        b = self.run(by_channel(shift, self.x.ndim).expand_as(self.x[:1]), self.w)
        return replace(self, x=x, weights=w, b=b + self.biases(True), back=lambda g: self.back(g) * wide)


def by_channel(t: Tensor, ndim: int) -> Tensor:
    """(C,) -> (C, 1, ...), as it broadcasts against (B, C, ...)."""
    return t.reshape(-1, *[1] * (ndim - 2))


def by_output(w: Tensor, scale: Tensor, groups: int, transposed: bool) -> Tensor:
    """Weights times a scale an output channel."""
    return _grouped(w, scale, groups) if transposed else w * scale.reshape(-1, *[1] * (w.ndim - 1))


def by_input(w: Tensor, scale: Tensor, groups: int, transposed: bool) -> Tensor:
    """Weights times a scale an input channel."""
    return by_output(w, scale, groups, not transposed)


def _grouped(w: Tensor, scale: Tensor, groups: int) -> Tensor:
    """Weights times a scale a channel of their second dimension, which counts the channels of one group."""
    y: Tensor = w.unflatten(0, (groups, -1)) * scale.reshape(groups, 1, -1, *[1] * (w.ndim - 2))
    return y.flatten(0, 1)


def roles(name: str, call: Bound) -> tuple[int, int, int | None]:
    """Which operands are x, w and b."""
    where = {path[0]: i for i, path in enumerate(call.paths)}
    if name in DENSE or name in CONVOLUTIONS:
        found = [where.get(p, where.get(n)) for p, n in enumerate(("input", "weight", "bias"))]
        return found[0], found[1], found[2]  # type: ignore[return-value]
    bias = where.get(0, where.get("input")) if name in SUMMED else None
    factors = [i for i in range(len(call.operands)) if i != bias]
    first, second = factors
    return (first, second, bias) if is_live(call.operands[first]) else (second, first, bias)


def layer_of(op: Op) -> Layer:
    """The layer that an operation with weights is; refused where it has none."""
    if op.name not in WEIGHTED:
        given = f"a rule of weights for {op.name!r}"
        raise UnknownOperation("rules", given, f"one of {', '.join(sorted(WEIGHTED))}", "`epsilon` fits any operation.")
    x, w, b = roles(op.name, op.call)
    xs = list(op.xs)
    without = {} if b is None else {b: torch.zeros_like(xs[b])}

    def run(some: Tensor, weights: Tensor) -> Tensor:
        put = {x: some, w: weights, **without}
        y: Tensor = op.call(*[put.get(i, t) for i, t in enumerate(xs)])
        return y

    def back(g: Tensor) -> Tensor:
        found = op.vjp(g)[x]
        return torch.zeros_like(op.xs[x]) if found is None else found

    bias = None if b is None else _added(op.name, op.call, xs, w, b)
    return Layer(op.xs[x], op.xs[w], bias, op.y, run, back)


def _added(name: str, call: Bound, xs: list[Tensor], w: int, b: int) -> Tensor:
    """The bias, as it broadcasts against the result."""
    spatial = xs[w].ndim - 2 if name in CONVOLUTIONS else 0
    bias = xs[b].reshape(-1, *[1] * spatial) if spatial else xs[b]
    return bias * call.kwargs.get("beta", 1) if name in SUMMED else bias


def has_live_bias(name: str, call: Bound) -> bool:
    """Whether what an operation with weights adds is on the path, as any other value of a sum."""
    b = roles(name, call)[2]
    return b is not None and is_live(call.operands[b])


def with_bias_apart(name: str, call: Bound) -> Tensor:
    """The operation without its bias, and the bias added to it."""
    _, w, b = roles(name, call)
    xs: list[Tensor] = call.operands
    y: Tensor = call(*[torch.zeros_like(t) if i == b else t for i, t in enumerate(xs)])
    return y if b is None else y + _added(name, call, xs, w, b)


Shares = Callable[[Layer], Pulled]


class Weighted:
    """A rule for operations with weights: how they share relevance is a function of a Layer.

    What is pulled back is c, of R = x c; the relevance of an `outright` rule does not vanish with x (see `carry`).
    """

    closed = False

    def __init__(
        self, shares: Shares, outright: bool = False, otherwise: Rule | None = None, proportional: bool = False
    ) -> None:
        self.shares, self.outright, self.otherwise = shares, outright, otherwise
        self.proportional = proportional  # whether a bias takes its part of the sum, as a value would

    def __repr__(self) -> str:
        return self.shares.__qualname__.split(".", 1)[0]

    def __call__(self, op: Op) -> Pull:
        if op.name not in WEIGHTED and self.otherwise is not None:
            return self.otherwise(op)
        if self.outright:
            given = "a rule that gives relevance to zeros, in a table by itself"
            raise UnknownOperation("rules", given, "one of a composite", "Give it to the method lrp.")
        pull = self.shares(layer_of(op))
        return aimed(pull, roles(op.name, op.call)[0], len(op.xs))


def aimed(pull: Pulled, i: int, count: int) -> Pull:
    """What is pulled back, to the i-th operand alone."""
    return lambda gy: [pull(gy) if k == i else None for k in range(count)]
