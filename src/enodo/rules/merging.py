"""Batch norms merged into the layers with weights before or after them, without touching the model.

The layer that a norm of fixed statistics and its neighbour make together reads the x of the first of the two: the
relevance of what comes out goes there at once. Other uses of the value between them keep the rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from enodo.core.operations import Bound, operation
from enodo.core.tables import Op, Pull, Rule, closed

from .layer import CONVOLUTIONS, DENSE, Layer, Shares, Weighted, aimed, layer_of, roles
from .norm import Norm

_MADE, _NORMED = "_made_by_layer", "_made_by_norm"


@dataclass
class Made:
    """What a tensor was made of: a layer with weights of x. `layer` is None in a pass that only writes down."""

    name: str
    call: Bound  # of the operation with weights
    x: Tensor
    layer: Callable[[], Layer] | None
    shares: Shares
    versions: tuple[int, int]  # of x and of what was made; code in place would have changed them
    arrives: bool = False  # whether relevance is carried to x,
    onward: bool = False  # and from the result

    @property
    def shape(self) -> tuple[int, bool]:
        """See `shape_of`."""
        return shape_of(self.name, self.call)


def shape_of(name: str, call: Bound) -> tuple[int, bool]:
    """The groups of an operation with weights, and whether it is a transposed convolution."""
    return (1, False) if name in DENSE else (call.get(6, "groups", 1), "transpose" in name)


def fits(name: str, call: Bound, t: Tensor) -> bool:
    """Whether the channels of t, (B, C, ...), are those of an operation with weights."""
    if name in CONVOLUTIONS:
        return t.ndim == call.operands[roles(name, call)[1]].ndim
    return name in DENSE and t.ndim == 2


def remember(t: Tensor, made: Made) -> None:
    """Write down what t was made of."""
    setattr(t, _MADE, made)


def made_by(t: Any) -> Made | None:
    """What a batch norm of t could be merged into."""
    made: Made | None = getattr(t, _MADE, None)
    if made is None or (made.x._version, t._version) != made.versions or not fits(made.name, made.call, t):
        return None
    return made


def remember_norm(t: Tensor, norm: Norm) -> None:
    """Write down that t was made by a batch norm."""
    setattr(t, _NORMED, (norm, norm.x._version, t._version))


def norm_of(t: Any) -> Norm | None:
    """The batch norm that made t."""
    norm, *versions = getattr(t, _NORMED, (None, 0, 0))
    return norm if norm is not None and [norm.x._version, t._version] == versions else None


@operation
def layer_and_norm(x: Tensor, y: Tensor, norm: Norm, made: Made) -> Tensor:
    """The batch norm of what a layer made of x, y."""
    return norm(y)


@operation
def norm_and_layer(x: Tensor, u: Tensor, norm: Norm, name: str, call: Bound, rule: Weighted) -> Tensor:
    """What a layer makes of the batch norm of x, u."""
    y: Tensor = call(u, *call.operands[1:])
    return y


def rule_with_norm_after(defer: Callable[[Callable[[], Pull]], Pull]) -> Rule:
    """The rule of a layer, for that layer and the norm after it."""

    @closed
    def rule(op: Op) -> Pull:
        *_, norm, made = op.call.args
        layer = made.layer().normed(norm.factors, op.y, made.shape)
        return defer(lambda: aimed(made.shares(layer), 0, 2))

    return rule


def layer_with_norm_before(op: Op) -> Layer:
    """The layer that `norm_and_layer` is."""
    _, _, norm, name, call, _ = op.call.args
    x, u = op.xs
    inner = Op(name, call, [u, *call.operands[1:]], op.y, [True] + [False] * (len(call.operands) - 1))
    return layer_of(inner).after_norm(x, norm.factors, shape_of(name, call))
