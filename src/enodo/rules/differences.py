"""Slopes of secants: of functions of one number, of products, of choices."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from enodo.core.ledger import Entry, same
from enodo.core.operations import tensors_in
from enodo.core.tables import Op, Pull, Rule, Slope, UnknownOperation, closed
from enodo.core.transforms import bare, is_batched, unrepeated
from enodo.core.values import accumulator

# A tiny number and a share: x times the share, less the tiny number, is not x, but x might have been rounded to it.
ROUNDED = {t: (torch.finfo(t).tiny, 1 + 2 * torch.finfo(t).eps) for t in (torch.float32, torch.float64)}


def reference(op: Op) -> Entry:
    """The operation at the baseline."""
    if op.at is None:
        raise UnknownOperation(
            "rules", f"a rule for {op.name!r} that compares with a baseline", "a pass at the baseline"
        )
    return op.at


def need_real(name: str, x: Tensor) -> None:
    """Refuse complex numbers, of which a secant in each entry says nothing."""
    if x.is_complex():
        given = f"{name!r} of complex numbers"
        raise UnknownOperation("model", given, "real ones", f"Give a rule: rules={{{name!r}: rule}}.")


def unread(rule: Rule) -> Rule:
    """A rule that does not read the operation's result at the baseline, which is then not kept."""
    rule.needs_result = False  # type: ignore[attr-defined]
    return rule


def forgetful(rule: Rule) -> Rule:
    """Such a rule that is closed."""
    return closed(unread(rule))


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
        need_real(op.name, x)
        if power is not None and accumulator(x.dtype) != x.dtype:
            x, x0 = x.float(), x0.float()
            y, y0 = (op.call(*[t if k == i else o.float() for k, o in enumerate(op.xs)]) for t in (x, x0))
        dx, dy, keep = _step(x, x0), y - y0, x.requires_grad
        if keep or power is not None:
            near = _near(dx, x, x0, power, relative)
            slopes = _ratio(dy, torch.where(near, 1, dx) if keep and near is not None else dx)
        else:
            slopes = _ratio(dy, dx)
            near = None if math.isfinite(bare(slopes).sum()) else _near(dx, x, x0, power, relative)
        return slopes if near is None else torch.where(near, derivative(op, i, (x + x0) / 2), slopes)

    return Slope(slope)


def _rectified(op: Op) -> Tensor:
    """The secant of a ReLU, (y - y0) / (x - x0), which rounding leaves alone; where x = x0, its derivative."""
    at = reference(op)
    x, x0, y = op.xs[0], unrepeated(at.xs[0]), op.y
    if x.requires_grad or x.dtype not in ROUNDED:
        return _cut.of(replace(op, at=replace(at, results=[x0.relu()])))
    tiny, share = ROUNDED[x.dtype]
    for moved in (True,) if is_batched(x0) else (False, True):  # of many baselines one is soon like the inputs
        x0 = torch.rsub(x0, -tiny, alpha=-share) if moved else x0
        dx = x - x0
        slope = _ratio(y - x0.relu(), dx)
        if math.isfinite(bare(slope).sum()):  # 0 / 0 shows in the sum: a mask would cost more than all else together
            return slope
    return torch.where(slope.isnan(), (y > 0).to(y.dtype), slope)


rectified = Slope(_rectified, needs_result=False)


def bounded(t: Tensor) -> Tensor:
    """The values, of which masked ones (minus infinity) are as low as differences and their ratios can bear."""
    return t.clamp(min=-min(1e12, torch.finfo(t.dtype).max / 4))


def _step(x: Tensor, x0: Tensor) -> Tensor:
    """x - x0; from what is masked in one pass only as far as `bounded` has it, as where it was chosen."""
    dx = x - x0
    return dx if math.isfinite(bare(dx).detach().sum()) else bounded(x) - bounded(x0)


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
    same_kind = op.xs[i].dtype  # others stay as they are, as the scales of quantised values
    xs = [at if k == i else x.to(at.dtype) if x.dtype == same_kind else x for k, x in enumerate(op.xs)]
    if is_batched(at):
        return op.call.pulled_at(xs, op.live, torch.ones_like(op.y, dtype=at.dtype))[i]  # type: ignore[return-value]  # it is live
    keep = at.requires_grad
    with torch.enable_grad():
        at = at if keep else at.detach().requires_grad_()
        xs[i] = at
        y = op.call(*xs)
        return torch.autograd.grad(y.sum(), at, create_graph=keep)[0]


def halfway(x: Tensor, x0: Tensor) -> Tensor:
    """(x + x0) / 2. A constant that both have is read from the ledger: code of the model may write to the other."""
    return x0 if not x.requires_grad and same(x, x0) else (x + x0) / 2


def _middles(op: Op) -> list[Tensor]:
    return list(map(halfway, op.xs, reference(op).xs))


class Factor(NamedTuple):
    """A factor of a product, at the inputs and at the baseline.

    One that `leaps` is off the path and has other whole numbers at the baseline: a mask or a count, whatever its dtype.
    """

    x: Tensor
    x0: Tensor
    operand: bool  # whether a gradient is asked of it; not of numbers and integers
    leaps: bool = False

    def slope(self, other: Factor) -> Tensor:
        """The other factor, halfway; with what this one has to carry of a leap of the other."""
        x, x0, c, c0 = self.x, self.x0, other.x, other.x0
        middle = halfway(c, c0)
        if not other.leaps:
            return middle
        step = x - x0
        return middle + torch.where(step == 0, 0, (c - c0) * (x + x0) / torch.where(step == 0, 1, 2 * step))


def _factors(op: Op) -> list[Factor]:
    """The tensors among the arguments, in their order."""
    at, found = reference(op), []
    operands = iter(zip(op.xs, at.xs, op.live, strict=True))
    fixed = iter(zip(op.call.fixed, at.fixed, strict=True))
    for _, t in tensors_in(op.call.args, op.call.kwargs):
        if t.is_floating_point() or t.is_complex():
            x, x0, live = next(operands)
            found.append(Factor(x, x0, True, not live and not same(x, x0) and _whole(x) and _whole(x0)))
        else:
            x, x0 = next(fixed)
            found.append(Factor(x.to(op.y.dtype), x0.to(op.y.dtype), False, not same(x, x0)))
    return found


def _whole(t: Tensor) -> bool:
    return not t.is_complex() and bool(bare(t == t.round()).all())


def _pulled_by(slopes: list[Tensor], factors: list[Factor]) -> Pull:
    """Gradients by a slope for each entry, of the factors that are operands."""
    wanted = [(s, f.x.shape, f.x.is_complex()) for s, f in zip(slopes, factors, strict=True) if f.operand]

    def pull(gy: Tensor) -> list[Tensor | None]:
        found = [((gy * s.conj()).sum_to_size(shape), is_complex) for s, shape, is_complex in wanted]
        return [g.real if g.is_complex() and not is_complex else g for g, is_complex in found]

    return pull


@forgetful
def product(op: Op) -> Pull:
    """Elementwise: the gradient of each factor is the other, halfway.

    What the change owes to a factor off the path is nobody's, unless that leaps: x * (x > 0) is where(x > 0, x, 0).
    """
    factors = _factors(op)
    if len(factors) == 1:
        return op.vjp  # times a number
    a, b = factors
    return _pulled_by([a.slope(b), b.slope(a)], factors)


@forgetful
def quotient(op: Op) -> Pull:
    """y = a/b by the product that it solves, a - a0 = (y - y0) (b + b0)/2 + (b - b0) (y + y0)/2.

    Where b and b0 differ in sign, and where one is a mask or a count, by a/b = a (1/b), with
    1/b - 1/b0 = -(b - b0) / (b b0).
    """
    *a, by = _factors(op)
    number = by.x.new_tensor(0 if a else op.call.get(0, "input"))
    of = a[0] if a else Factor(number, number, False)
    inverse = by._replace(x=1 / by.x, x0=1 / by.x0)
    slopes = [of.slope(inverse), inverse.slope(of) / -(by.x * by.x0)]
    if not (of.leaps or by.leaps or op.y.is_complex()):
        alike = by.x * by.x0 > 0
        middle = torch.where(alike, by.x + by.x0, 1)
        ways = 2 / middle, -(op.y + of.x0 / by.x0) / middle
        slopes = [torch.where(alike, one, other) for one, other in zip(ways, slopes, strict=True)]
    return _pulled_by(slopes, [of, by])


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
    own = [x if live else x0 for x, x0, live in zip(op.xs, reference(op).xs, op.live, strict=True)]
    if sum(op.live) == 1 and all(map(same, op.xs, own)):
        return replace(op, xs=own).vjp  # of constants what the ledger has: see `halfway`
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
