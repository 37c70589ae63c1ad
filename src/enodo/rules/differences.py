"""Slopes of secants: of functions of one number, of products, of choices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enodo.core.ledger import Entry, same
from enodo.core.tables import Op, Pull, Rule, Slope, UnknownOperation, closed
from enodo.core.transforms import bare, is_batched
from enodo.core.values import accumulator

FAINT = 2.0**-80  # a share of x that no difference of two other numbers than x and x is changed by


def reference(op: Op) -> Entry:
    """The operation at the baseline."""
    if op.at is None:
        raise UnknownOperation(
            "rules", f"a rule for {op.name!r} that compares with a baseline", "a pass at the baseline"
        )
    return op.at


def forgetful(rule: Rule) -> Rule:
    """A closed rule that does not read the operation's result at the baseline, which is then not kept."""
    rule.needs_result = False  # type: ignore[attr-defined]
    return closed(rule)


def secant(power: float | None, relative: bool = False) -> Slope:
    """(y - y0) / (x - x0) for each entry, and the derivative halfway where x and x0 are nearer than eps ** power.

    Rounding spoils the secant of a smooth function by eps / |x - x0|, its derivative is off by (x - x0)^2: the cube
    root balances them. `relative` measures nearness by x, for functions that have a singularity. Without a power only
    what is equal is near: right where all slopes are 0, 1 or -1, as y - y0 is then rounded as x - x0 is. Differences
    of numbers in half precision are taken in float32.
    """

    def slope(op: Op) -> Tensor:
        i = op.only
        x, x0, y, y0 = op.xs[i], reference(op).xs[i], op.y, reference(op).y
        if power is not None and accumulator(x.dtype) != x.dtype:
            x, x0 = x.float(), x0.float()
            y, y0 = (op.call(*[t if k == i else o.float() for k, o in enumerate(op.xs)]) for t in (x, x0))
        dx, dy, keep = x - x0, y - y0, x.requires_grad
        if keep or power is not None:
            near = _near(dx, x, x0, power, relative)
            slopes = _ratio(dy, torch.where(near, 1, dx) if keep and near is not None else dx)
        else:
            slopes = _ratio(dy, dx)
            near = None if math.isfinite(bare(slopes).sum()) else _near(dx, x, x0, power, relative)
        return slopes if near is None else torch.where(near, derivative(op, i, (x + x0) / 2), slopes)

    return Slope(slope)


@Slope
def rectified(op: Op) -> Tensor:
    """The secant of a ReLU, (y - y0) / (x - x0), which rounding leaves alone; where x = x0, y / x."""
    x, x0, y, y0 = op.xs[0], reference(op).xs[0], op.y, reference(op).y
    if x.requires_grad or x.dtype not in (torch.float32, torch.float64):
        return _cut.of(op)
    slope = _ratio(y - y0, x - x0)
    if not math.isfinite(bare(slope).sum()):  # 0 / 0 shows in the sum: a mask would cost more than all else together
        slope = _ratio((y - y0).add_(y, alpha=FAINT), (x - x0).add_(x, alpha=FAINT)).nan_to_num_(nan=0.0)
    return slope


def _near(dx: Tensor, x: Tensor, x0: Tensor, power: float | None, relative: bool) -> Tensor | None:
    """Where x and x0 are near, also where both are the same infinity; None where they nowhere are."""
    limit: float | Tensor = 0.0 if power is None else torch.finfo(dx.dtype).eps ** power
    size = dx.abs()
    if relative:
        limit = limit * ((x + x0).abs() / 2).clamp(max=1)
    elif not size.numel() or bool(bare(size).amin() > limit):
        return None
    return torch.gt(size, limit).logical_not_()


def _ratio(dy: Tensor, dx: Tensor) -> Tensor:
    return dy / dx if dx.requires_grad or dy.shape != dx.shape else dy.div_(dx)


_cut = secant(None)


def derivative(op: Op, i: int, at: Tensor) -> Tensor:
    """The derivative of an operation, entry by entry, at other values of its i-th operand."""
    xs = [at if k == i else x.to(at.dtype) for k, x in enumerate(op.xs)]
    if is_batched(at):
        return op.call.pulled_at(xs, op.live, torch.ones_like(op.y, dtype=at.dtype))[i]  # type: ignore[return-value]  # it is live
    keep = at.requires_grad
    with torch.enable_grad():
        at = at if keep else at.detach().requires_grad_()
        xs[i] = at
        y = op.call(*xs)
        return torch.autograd.grad(y.sum(), at, create_graph=keep)[0]


def _middles(op: Op) -> list[Tensor]:
    pairs = zip(op.xs, reference(op).xs, strict=True)
    return [x if same(x, x0) else (x + x0) / 2 for x, x0 in pairs]


@forgetful
def product(op: Op) -> Pull:
    """Elementwise: the gradient of each factor is the other, halfway."""
    if len(op.xs) == 1:
        return op.vjp  # times a number
    a, b = _middles(op)
    shapes = [x.shape for x in op.xs]
    return lambda gy: [(gy * b).sum_to_size(shapes[0]), (gy * a).sum_to_size(shapes[1])]


@forgetful
def quotient(op: Op) -> Pull:
    """a/b = a (1/b), a product, with 1/b - 1/b0 = -(b - b0) / (b b0)."""
    if len(op.xs) == 1 and isinstance(op.call.args[0], Tensor):
        return op.vjp  # by a number
    (*a, b), (*_, b0) = op.xs, reference(op).xs
    middle = _middles(op)[0] if a else op.call.args[0]
    by, of = (1 / b + 1 / b0) / 2, -middle / (b * b0)
    shapes = [x.shape for x in op.xs]
    return lambda gy: [
        (gy * g).sum_to_size(shape) for g, shape in zip([by, of][2 - len(shapes) :], shapes, strict=True)
    ]


@forgetful
def matrix_product(op: Op) -> Pull:
    """As for products, of matrices."""
    a, b = _middles(op)
    if min(a.ndim, b.ndim) < 2 or a.is_complex():
        return bilinear(op)
    shapes, live = [x.shape for x in op.xs], op.live

    def pull(gy: Tensor) -> list[Tensor | None]:
        ga = (gy @ b.mT).sum_to_size(shapes[0]) if live[0] else None
        return [ga, (a.mT @ gy).sum_to_size(shapes[1]) if live[1] else None]

    return pull


@forgetful
def bilinear(op: Op) -> Pull:
    """The operation's own gradient with its operands halfway, right for what is linear in each of two operands."""
    others = [same(x, x0) for x, x0, live in zip(op.xs, reference(op).xs, op.live, strict=True) if not live]
    if sum(op.live) == 1 and all(others):
        return op.vjp
    if sum(op.live) > 2 and op.name == "einsum":
        raise UnknownOperation("model", f"an einsum of {sum(op.live)} factors", "one of two", "Write it as two.")
    if any(map(is_batched, reference(op).xs)):
        middle = _middles(op)
        return lambda gy: op.call.pulled_at(middle, op.live, gy)
    with torch.enable_grad():
        keep = any(x.grad_fn is not None for x in op.xs)
        middle = [m if keep else m.detach().requires_grad_(live) for m, live in zip(_middles(op), op.live, strict=True)]
        y = op.call(*middle)
    return Op(op.name, op.call, middle, y, op.live, graph=(middle, y)).vjp


@forgetful
def picked(op: Op) -> Pull:
    """Entries at given places: linear, where the places are those at the baseline."""
    if not all(map(same, op.call.fixed, reference(op).fixed)):
        given = f"{op.name!r} with indices that are other ones at the baseline than at the inputs"
        raise UnknownOperation("model", given, "the same places for both, so that the difference has a meaning")
    return op.vjp


def switched(op: Op) -> Pull:
    """where(c, a, b) and masked_fill.

    Where c is not what it is at the baseline, a and b share the change in proportion to |a - a0| and |b - b0|.
    """
    (c,), (c0,) = op.call.fixed[:1], reference(op).fixed[:1]
    if same(c, c0):
        return op.vjp
    steps = [
        x - x0 if live else torch.zeros_like(x) for x, x0, live in zip(op.xs, reference(op).xs, op.live, strict=True)
    ]
    total = torch.stack(torch.broadcast_tensors(*[d.abs() for d in steps])).sum(0)
    share = (op.y - reference(op).y) / torch.where(total == 0, 1, total)
    slopes = [share * d.sign() for d in steps]
    turned, shapes = c != c0, [x.shape for x in op.xs]

    def pull(gy: Tensor) -> list[Tensor | None]:
        own = op.vjp(torch.where(turned, 0, gy))
        more = [torch.where(turned, gy * s, 0).sum_to_size(shape) for s, shape in zip(slopes, shapes, strict=True)]
        return [None if g is None else g + m for g, m in zip(own, more, strict=True)]

    return pull
