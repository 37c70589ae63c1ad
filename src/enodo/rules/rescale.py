"""DeepLIFT's rescale rule: each operation has the slope of the secant from its value at the baseline to that at the inputs.

A multiplier m of an operation y = f(x) is complete: the sum of m (x - x0) is y - y0. Where x and x0 are close, it is
the derivative. Products share the change equally between their factors: ab - a0 b0 = (a - a0) (b + b0)/2 + (b - b0) (a + a0)/2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.ledger import Entry, same
from enodo.core.operations import is_live, tensors_in
from enodo.core.rules import PLAIN, Decompose, Depends, Op, Pull, Refuse, Rule, Table, Treatment, UnknownOperation

from . import composites, elementwise, extremes
from .linear import LINEAR, only_first
from .recurrent import RECURRENT


def reference(op: Op) -> Entry:
    """The operation at the baseline."""
    if op.at is None:
        raise UnknownOperation("rules", f"a rule for {op.name!r} that compares with a baseline", "a pass at the baseline")
    return op.at


def forgetful(rule: Rule) -> Rule:
    """A rule that does not read the operation's result at the baseline, which is then not kept."""
    rule.needs_result = False  # type: ignore[attr-defined]
    return rule


def secant(power: float, relative: bool = False) -> Rule:
    """(y - y0) / (x - x0) for each entry, and the derivative halfway where x and x0 are nearer than eps ** power.

    Rounding spoils the secant of a smooth function by eps / |x - x0|, its derivative is off by (x - x0)^2: the cube
    root balances them. `relative` measures nearness by x, for functions that have a singularity.
    """

    def rule(op: Op) -> Pull:
        i = _single(op)
        x, x0 = op.xs[i], reference(op).xs[i]
        dx = x - x0
        limit: Any = torch.finfo(x.dtype).eps ** power
        if relative:
            limit = limit * ((x + x0).abs() / 2).clamp(max=1)
        near = ~(dx.abs() > limit)  # NaN, from infinities of equal sign, is near
        slope = (op.y - reference(op).y) / torch.where(near, 1, dx)
        if near.any():
            slope = torch.where(near, _derivative(op, i, (x + x0) / 2), slope)

        def pull(gy: Tensor) -> list[Tensor | None]:
            return [(gy * slope).sum_to_size(x_shape) if k == i else None for k in range(count)]

        x_shape, count = x.shape, len(op.xs)
        return pull

    return rule


def _single(op: Op) -> int:
    found = [i for i, live in enumerate(op.live) if live]
    if len(found) != 1:
        given = f"{op.name!r} with {len(found)} arguments on the path of gradients"
        raise UnknownOperation("model", given, "a function of one of them", f"Give a rule: rules={{{op.name!r}: rule}}.")
    return found[0]


def _derivative(op: Op, i: int, at: Tensor) -> Tensor:
    keep = torch.is_grad_enabled() and at.requires_grad
    with torch.enable_grad():
        at = at if keep else at.detach().requires_grad_()
        y = op.call(*[at if k == i else x for k, x in enumerate(op.xs)])
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
    return lambda gy: [(gy * g).sum_to_size(shape) for g, shape in zip([by, of][2 - len(shapes) :], shapes, strict=True)]


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
    with torch.enable_grad():
        keep = any(x.grad_fn is not None for x in op.xs)
        middle = [m if keep else m.detach().requires_grad_(live) for m, live in zip(_middles(op), op.live, strict=True)]
        y = op.call(*middle)
    return Op(op.name, op.call, middle, y, op.live).vjp


@forgetful
def softmax(op: Op) -> Pull:
    """With L the logarithmic mean of y and y0, y - y0 = L (z - z0) for z = log y = x - logsumexp(x).

    As the y sum to one, the change of the logsumexp is the mean of x - x0 under weights L: the gradient is L times that
    of y, less its mean under L. It is the softmax's own where x = x0, and sees no constant added to x.
    """
    dim, mean = _log_mean(op)
    total = mean.sum(dim, keepdim=True)

    def pull(gy: Tensor) -> list[Tensor | None]:
        gy = gy.to(mean.dtype)
        return [(mean * (gy - (mean * gy).sum(dim, keepdim=True) / total)).to(dtype)]

    dtype = op.xs[0].dtype
    return pull


@forgetful
def log_softmax(op: Op) -> Pull:
    """x - logsumexp(x); see `softmax`."""
    dim, mean = _log_mean(op)
    shares, dtype = mean / mean.sum(dim, keepdim=True), op.xs[0].dtype
    return lambda gy: [(gy - shares * gy.sum(dim, keepdim=True)).to(dtype)]


@forgetful
def logsumexp(op: Op) -> Pull:
    """The change of the result is the mean of that of x under the logarithmic means of the softmax."""
    dim, mean = _log_mean(op)
    shares = mean / mean.sum(dim, keepdim=True)
    dims = sorted(d % mean.ndim for d in (dim if isinstance(dim, (tuple, list)) else [dim]))
    kept = bool(op.call.get(2, "keepdim", False))

    def pull(gy: Tensor) -> list[Tensor | None]:
        for d in () if kept else dims:
            gy = gy.unsqueeze(d)
        return [shares * gy]

    return pull


def _log_mean(op: Op) -> tuple[Any, Tensor]:
    """The dimension, and the logarithmic mean (y - y0) / (log y - log y0) of the softmax y along it."""
    x, x0 = op.xs[0], reference(op).xs[0]
    dim = op.call.get(1, "dim", None)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    x, x0 = x.to(op.y.dtype), x0.to(op.y.dtype)
    z, z0 = x - torch.logsumexp(x, dim, keepdim=True), x0 - torch.logsumexp(x0, dim, keepdim=True)
    top, gap = torch.maximum(z, z0), (z - z0).abs()
    flat = ~(gap > 0)  # equal, or both masked
    ratio = -torch.expm1(-gap) / torch.where(flat, 1, gap)
    return dim, torch.exp(top) * torch.where(flat, 1, ratio)


@forgetful
def standardise(op: Op) -> Pull:
    """y = c r for c = x - mean(x) (or x) and r = 1 / sqrt(mean(c^2) + eps): a product, with the secant of r.

    r - r0 = -(mean c^2 - mean c0^2) r^2 r0^2 / (r + r0), and c^2 - c0^2 = (c - c0) (c + c0).
    """
    _, dims, eps, centre = op.call.args
    axes = tuple(range(-dims, 0))
    (c, r), (c0, r0) = (_parts(x, axes, eps, centre) for x in (op.xs[0], reference(op).xs[0]))
    c, slope = (c + c0) / 2, 2 * r.square() * r0.square() / (r + r0)
    r, dtype = (r + r0) / 2, op.xs[0].dtype

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = gy * r - c * (slope * (gy * c).mean(axes, keepdim=True))
        return [(g - g.mean(axes, keepdim=True) if centre else g).to(dtype)]

    return pull


def _parts(x: Tensor, axes: tuple[int, ...], eps: float, centre: bool) -> tuple[Tensor, Tensor]:
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    c = x - x.mean(axes, keepdim=True) if centre else x
    return c, torch.rsqrt(c.square().mean(axes, keepdim=True) + eps)


def length(op: Op) -> Pull:
    """|x| - |x0| = (x - x0) (x + x0) / (|x| + |x0|)."""
    _, dim, kept = op.call.args
    (x, x0), y = (op.xs[0], reference(op).xs[0]), op.y + reference(op).y
    dims = sorted(d % x.ndim for d in (dim if isinstance(dim, (tuple, list)) else [dim]))
    for d in () if kept else dims:
        y = y.unsqueeze(d)
    slope = (x + x0) / torch.where(y == 0, 1, y)

    def pull(gy: Tensor) -> list[Tensor | None]:
        for d in () if kept else dims:
            gy = gy.unsqueeze(d)
        return [gy * slope]

    return pull


@forgetful
def picked(op: Op) -> Pull:
    """Entries at given places: linear, where the places are those at the baseline."""
    if not all(map(same, op.call.fixed, reference(op).fixed)):
        given = f"{op.name!r} with indices that are other ones at the baseline than at the inputs"
        raise UnknownOperation("model", given, "the same places for both, so that the difference has a meaning")
    return op.vjp


def switched(op: Op) -> Pull:
    """where(c, a, b) and masked_fill. Where c is not what it is at the baseline, the change is shared by |a - a0| and |b - b0|."""
    (c,), (c0,) = op.call.fixed[:1], reference(op).fixed[:1]
    if same(c, c0):
        return op.vjp
    steps = [x - x0 if live else torch.zeros_like(x) for x, x0, live in zip(op.xs, reference(op).xs, op.live, strict=True)]
    total = torch.stack(torch.broadcast_tensors(*[d.abs() for d in steps])).sum(0)
    share = (op.y - reference(op).y) / torch.where(total == 0, 1, total)
    slopes = [share * d.sign() for d in steps]
    turned, shapes = c != c0, [x.shape for x in op.xs]

    def pull(gy: Tensor) -> list[Tensor | None]:
        own = op.vjp(torch.where(turned, 0, gy))
        more = [torch.where(turned, gy * s, 0).sum_to_size(shape) for s, shape in zip(slopes, shapes, strict=True)]
        return [None if g is None else g + m for g, m in zip(own, more, strict=True)]

    return pull


def _by_places(*args: Any, **kwargs: Any) -> Treatment:
    indexed = any(not t.is_floating_point() for _, t in tensors_in(args, kwargs))
    return picked if indexed else PLAIN


def _div(input: Any, other: Any, *, rounding_mode: Any = None) -> Treatment:
    if rounding_mode is not None:
        return Refuse("rounds a quotient")
    return quotient if isinstance(other, Tensor) else PLAIN


def _mul(input: Any, other: Any) -> Treatment:
    return product if isinstance(input, Tensor) and isinstance(other, Tensor) else PLAIN


def _power(input: Any, exponent: Any) -> Treatment:
    return Decompose(composites.power) if is_live(exponent) and is_live(input) else secant(1 / 3, relative=True)


_BILINEAR = "einsum tensordot outer ger dot vdot inner kron cross linalg_cross chain_matmul".split()
_WEIGHTED = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution bilinear".split()

RESCALE = Table(
    {
        **LINEAR,
        **composites.COMPOSITES,
        **RECURRENT,
        **extremes.EXTREMES,
        **dict.fromkeys(elementwise.KINKED, secant(3 / 4)),
        **dict.fromkeys(elementwise.SMOOTH, secant(1 / 3)),
        **dict.fromkeys(elementwise.SINGULAR, secant(1 / 3, relative=True)),
        **dict.fromkeys(_BILINEAR, bilinear),
        **dict.fromkeys(_WEIGHTED, only_first(bilinear)),
        **dict.fromkeys(("matmul", "mm", "bmm", "mv"), matrix_product),
        **dict.fromkeys(("getitem", "gather", "index_select", "take_along_dim", "take"), Depends(_by_places)),
        **dict.fromkeys(("where", "masked_fill"), switched),
        "mul": Depends(_mul),
        "div": Depends(_div),
        "pow": Depends(_power),
        "softmax": softmax,
        "log_softmax": log_softmax,
        "logsumexp": logsumexp,
        "standardise": standardise,
        "length": length,
    },
    compares=True,
)
