"""Nodes of autograd's graph: those whose backward is a rule, asked at once or waiting for its baselines; and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules._functions import BackwardHookFunction  # of hooks that users set on modules

from . import tree as trees
from .ledger import Entry, Layout, Unpairable
from .operations import Bound, caller, is_live, parts
from .pairs import Pairs
from .tables import Op, Rule, Slope, UnknownOperation

_PLAIN = {Tensor, torch.nn.Parameter}  # of whose kind the numbers can be replaced; others may hold them elsewhere


def done(call: Bound, name: str, rule: Rule, xs: Sequence[Tensor], live: Sequence[bool]) -> Op:
    """An operation done, in a graph of its own unless the rule has no use for one."""
    if getattr(rule, "closed", False):
        own = [x.detach() for x in xs]
        y, *aux = parts(call(*own))
        return Op(name, call, own, y, live, tuple(aux))
    traced, y, further = call.traced(xs, live)
    return Op(name, call, traced, y, live, further, graph=(traced, y))


def _answer(ctx: Any, op: Op, rule: Rule) -> Any:
    """The result for the model; a detached one, as the rule's holding its own node would be a circle.

    By a rule that is `plain`, the own gradient, it is off the path where that has been asked for nothing but its dtype,
    as in mask.type_as(x).
    """
    ctx.live, ctx.operation = op.live, op.name
    if any(t.is_floating_point() or t.is_complex() for t in op.aux):
        given = f"a rule for {op.name!r} at {caller()}, which returns several tensors of numbers"
        raise UnknownOperation(
            "rules", given, "a rule for one result", "Have it done by simpler ones: tables.Decompose."
        )
    y = op.y.detach()
    aside = getattr(rule, "plain", False) and op.graph is not None and not op.graph[1].requires_grad
    ctx.mark_non_differentiable(*op.aux, *([y] if aside else []))
    return (y, *op.aux) if op.aux else y


def _gradients(ctx: Any, found: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [g if live else None for g, live in zip(found, ctx.live, strict=True)]


def _for_each_row(at: Entry, op: Op) -> Entry:
    layout = Layout(at.readers)
    found = layout.beside(at, op.xs, op.call.fixed if at.fixed else (), (op.y, *op.aux))
    if layout.merged:
        raise Unpairable(f"rows of {op.name!r} that share a dimension with others")
    return found


def ruled(call: Bound, name: str, rule: Rule, at: Entry | None, true: Entry | None) -> Any:
    """A call whose gradient is a rule's; `at` and `true` are the same call in other passes (see `Rules`)."""
    xs = call.operands
    if true is not None or not isinstance(rule, Slope) or not _PLAIN.issuperset(map(type, xs)):
        return Ruled.apply(call, name, rule, at, true, *xs)  # type: ignore[no-untyped-call]
    op = done(call, name, rule, xs, [is_live(x) for x in xs])
    op.at = at if at is None or at.broadcasts(xs) else _for_each_row(at, op)
    y = xs[op.only] * rule.of(op)  # its node is one of autograd's own; its numbers are the operation's:
    y.data = op.y
    return y


class Ruled(torch.autograd.Function):
    """A call whose backward is a rule; further results carry no gradient."""

    @staticmethod
    def forward(ctx: Any, call: Bound, name: str, rule: Rule, at: Entry | None, true: Entry | None, *xs: Tensor) -> Any:
        live = [is_live(x) for x in xs]
        op = done(call, name, rule, xs, live)
        op.at = at if at is None or not at.readers else _for_each_row(at, op)
        if true is None:
            ctx.pull = rule(op)
        else:  # the same values, in the graph that computed them
            with torch.enable_grad():
                apart = [x.view_as(x) for x in true.xs]  # so that the path from one operand to another is not taken
                y, *_ = parts(call(*apart))
                ctx.pull = rule(Op(name, call, apart, y, live, op.aux, at, (apart, y)))
        return _answer(ctx, op, rule)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, *_: Any) -> Any:
        return (None, None, None, None, None, *_gradients(ctx, ctx.pull(gy)))


class Waiting(torch.autograd.Function):
    """A call whose rule is asked in each backward pass anew, against the baselines that are chosen then."""

    @staticmethod
    def forward(ctx: Any, call: Bound, name: str, rule: Rule, pairs: Pairs, *xs: Tensor) -> Any:
        op = done(call, name, rule, xs, [is_live(x) for x in xs])
        ctx.pull = pairs.add(op, rule)
        return _answer(ctx, op, rule)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, *_: Any) -> Any:
        return (None, None, None, None, *_gradients(ctx, ctx.pull(gy)))


def made_within(hidden: Sequence[range], values: Any) -> str | None:
    """What made one of these values by a node whose number is within one of these ranges; None where none is.

    What hooks of users leave, and what says of itself that it is `linear`, does not count.
    """
    for _, t in trees.leaves(values):
        node = t.grad_fn if isinstance(t, Tensor) else None
        if node is None or not any(node._sequence_nr() in numbers for numbers in hidden):
            continue
        made = getattr(type(node), "_forward_cls", None)
        if not (made is BackwardHookFunction or getattr(made, "linear", False)):
            return made.__name__ if made is not None else "TorchScript, torch.vmap or other"
    return None
