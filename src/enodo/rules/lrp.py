"""Layer-wise relevance propagation as a gradient under rules.

The relevance of a value is R = x c; a rule says how c is carried back. Where every contribution to a sum gets its share
of R in proportion, c moves as a gradient does: LRP-0 is the gradient, sums, averages and movements of data need no rule
at all, and relevance splits rightly where a network branches. So a rule here maps the c of y to that of x.

Rules for layers with weights, z = sum_i x_i w_i + b: `epsilon`, `gamma`, `alpha_beta`, `z_plus`. For what is made of no
weights: `identity` (all relevance to the argument), `shared` (factors share alike), `constant` (none goes back).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import nearest, refuse
from enodo.core.operations import is_live
from enodo.core.tables import PLAIN, Depends, Op, Pull, Rule, Table, Treatment, own

from . import composites, elementwise
from .linear import LINEAR, only_first
from .recurrent import RECURRENT

TINY = 1e-12  # below which a number is taken for zero where it divides


def _stable(z: Tensor, epsilon: float) -> Tensor:
    return z + torch.where(z >= 0, epsilon, -epsilon)


def epsilon(epsilon: float = 1e-9) -> Rule:
    """LRP-epsilon: shares x_i w_i of z + epsilon sign(z), which absorbs the relevance of small sums."""

    def rule(op: Op) -> Pull:
        share = op.y / _stable(op.y, epsilon)
        return lambda gy: op.vjp(gy * share)

    return rule


def _part(op: Op, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The layer at x with other weights: its value without graph of x, and what pulls back to x."""
    extra = () if len(op.xs) < 3 else (torch.zeros_like(op.xs[2]) if bias is None else bias,)
    value = op.call(x, weight, *extra)
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        out = op.call(at, weight, *extra)

    def pull(s: Tensor) -> Tensor:
        return torch.autograd.grad(out, at, s, retain_graph=True, create_graph=torch.is_grad_enabled())[0]

    return value, pull


def gamma(gamma: float = 0.25, epsilon: float = 1e-9) -> Rule:
    """LRP-gamma: contributions of the sign of z count 1 + gamma times (generalised to negative x and z).

    Montavon et al. 2019, section 10.2.2; Andeol et al. 2021, arXiv:2109.07869, for values of both signs.
    """

    def rule(op: Op) -> Pull:
        x, w = op.xs[0], op.xs[1]
        b = op.xs[2] if len(op.xs) > 2 else None
        high, low = w + gamma * w.clamp(min=0), w + gamma * w.clamp(max=0)
        up, down = x.clamp(min=0), x.clamp(max=0)
        b_high = None if b is None else b + gamma * b.clamp(min=0)
        b_low = None if b is None else b + gamma * b.clamp(max=0)
        (a, pull_a), (d, pull_d) = _part(op, up, high, b_high), _part(op, down, low, None)  # for z > 0
        (e, pull_e), (f, pull_f) = _part(op, up, low, b_low), _part(op, down, high, None)  # for z < 0
        on, first = op.y > 0, x >= 0
        over, under = (op.y * on) / _stable(a + d, epsilon), (op.y * ~on) / _stable(e + f, epsilon)

        def pull(gy: Tensor) -> list[Tensor | None]:
            p, n = gy * over, gy * under
            return [torch.where(first, pull_a(p) + pull_e(n), pull_d(p) + pull_f(n)), *[None] * (len(op.xs) - 1)]

        return pull

    return rule


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, epsilon: float = 1e-9) -> Rule:
    """LRP-alpha-beta: alpha shares of what speaks for z, less beta shares of what speaks against it.

    Bach et al. 2015, equation 60; alpha - beta = 1 conserves relevance.
    """
    if abs(alpha - beta - 1) > 1e-9:
        refuse("alpha, beta", f"{alpha} and {beta}", "alpha - beta = 1, so that relevance is conserved")

    def rule(op: Op) -> Pull:
        x, w = op.xs[0], op.xs[1]
        b = op.xs[2] if len(op.xs) > 2 else None
        up, down, more, less = x.clamp(min=0), x.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
        first = x >= 0
        parts = []
        for factor, sign in ((alpha, 1), (-beta, -1)):
            if factor == 0:
                continue
            one, two = (more, less) if sign > 0 else (less, more)
            bias = None if b is None else (b.clamp(min=0) if sign > 0 else b.clamp(max=0))
            (a, pull_a), (d, pull_d) = _part(op, up, one, bias), _part(op, down, two, None)
            parts.append((factor * op.y / _stable_of(a + d, sign, epsilon), pull_a, pull_d))

        def pull(gy: Tensor) -> list[Tensor | None]:
            total: Any = 0
            for share, pull_up, pull_down in parts:
                s = gy * share
                total = total + torch.where(first, pull_up(s), pull_down(s))
            return [total, *[None] * (len(op.xs) - 1)]

        return pull

    return rule


def _stable_of(z: Tensor, sign: int, epsilon: float) -> Tensor:
    return z + sign * epsilon


def z_plus(epsilon: float = 1e-9) -> Rule:
    """LRP-z+: shares of what speaks for z alone; alpha-beta with alpha = 1, beta = 0."""
    return alpha_beta(1.0, 0.0, epsilon)


def reweighted(change: Callable[[Tensor], Tensor], bias: bool = True, epsilon: float = 1e-9) -> Rule:
    """Shares in proportion to x_i change(w_i), and b unless without `bias`; for x that are not negative."""

    def rule(op: Op) -> Pull:
        if len(op.xs) < 2:
            return op.vjp
        b = op.xs[2] if len(op.xs) > 2 and bias else None
        z, pull_back = _part(op, op.xs[0], change(op.xs[1]), b)
        share = op.y / _stable(z, epsilon)
        return lambda gy: [pull_back(gy * share), *[None] * (len(op.xs) - 1)]

    return rule


def identity(op: Op) -> Pull:
    """All relevance of f(x) goes to x, entry by entry: c f(x) / x; where x is zero, the derivative."""
    i = op.live.index(True)
    x = op.xs[i]
    near = x.abs() < TINY
    ratio = torch.where(near, 0, op.y / torch.where(near, 1, x))

    def pull(gy: Tensor) -> list[Tensor | None]:
        found = (gy * ratio).sum_to_size(shape)
        derivative = op.vjp(gy * near)[i] if at_zero else None
        found = found if derivative is None else found + derivative
        return [found if k == i else None for k in range(count)]

    at_zero, shape, count = bool(near.any()), x.shape, len(op.xs)
    return pull


def shared(op: Op) -> Pull:
    """Factors on the path share alike: each gets the gradient over the number of them (AttnLRP's uniform rule)."""
    parts = sum(op.live)
    return lambda gy: op.vjp(gy / parts)


def gated(op: Op) -> Pull:
    """The last factor is what is gated or mixed, and gets all; the others are taken for constants (CP-LRP)."""
    last = max(i for i, live in enumerate(op.live) if live)
    return lambda gy: [g if i == last else None for i, g in enumerate(op.vjp(gy))]


def constant(op: Op) -> Pull:
    """No relevance goes back."""
    return lambda gy: [None] * len(op.xs)


def _taken_by(other: int) -> Rule:
    """All to one factor: the other one is a gate, whose value says how much passes (Arras et al. 2017)."""

    def rule(op: Op) -> Pull:
        return lambda gy: [g if i == other else None for i, g in enumerate(op.vjp(gy))]

    return rule


def divided(op: Op) -> Pull:
    """The denominator is taken for a constant."""
    numerator = isinstance(op.call.args[0], Tensor)
    return lambda gy: [g if i == 0 and numerator else None for i, g in enumerate(op.vjp(gy))]


def standardised(op: Op) -> Pull:
    """The deviation is taken for a constant: the norm is linear (AttnLRP, proposition 3.4)."""
    x, dims, eps, centre = op.xs[0], *op.call.args[1:]
    axes = tuple(range(-dims, 0))
    c = x - x.mean(axes, keepdim=True) if centre else x
    r = torch.rsqrt(c.square().mean(axes, keepdim=True) + eps)

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = gy * r
        return [g - g.mean(axes, keepdim=True) if centre else g]

    return pull


def _if_several(rule: Treatment) -> Depends:
    def choose(*args: Any, **kwargs: Any) -> Treatment:
        return rule if sum(map(is_live, [*args, *kwargs.values()])) > 1 or any(map(_several, args)) else PLAIN

    return Depends(choose)


def _several(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and sum(map(is_live, value)) > 1


DENSE = ("linear",)
CONVOLUTIONS = tuple(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))
_PRODUCTS = "matmul mm bmm mv einsum tensordot outer dot inner bilinear".split()
_CHOICES = "where masked_fill max min amax amin maximum minimum".split()
_SOFT = "softmax log_softmax logsumexp".split()
_GATES = (
    "sigmoid hardsigmoid softplus logsigmoid log_sigmoid exp exp2 cos cosh erfc".split()
)  # they say how much passes
_POOLS = [f"{kind}max_pool{n}d{end}" for kind in ("", "adaptive_") for n in (1, 2, 3) for end in ("", "_with_indices")]
_ELEMENTWISE = [*elementwise.KINKED, *elementwise.SMOOTH, *elementwise.SINGULAR]


def _div(input: Any, other: Any, **_: Any) -> Treatment:
    return divided if is_live(other) else PLAIN


def _is_gate(t: Any) -> bool:
    return getattr(getattr(t, "grad_fn", None), "operation", None) in _GATES


def _mul(product: Rule) -> Depends:
    def choose(input: Any, other: Any) -> Treatment:
        if not (is_live(input) and is_live(other)):
            return PLAIN
        gates = _is_gate(input), _is_gate(other)
        return product if gates[0] == gates[1] else _taken_by(int(gates[0]))

    return Depends(choose)


def table(dense: Treatment, convolution: Treatment, product: Rule = shared, softmax: Treatment = own) -> Table:
    """A table of LRP with these rules for the layers with weights, products, and the softmax."""
    return Table(
        {
            **LINEAR,
            **composites.COMPOSITES,
            **RECURRENT,
            **dict.fromkeys([*_CHOICES, *_POOLS], PLAIN),
            **dict.fromkeys(_SOFT, own),  # AttnLRP, proposition 3.1
            **dict.fromkeys(_ELEMENTWISE, identity),
            **dict.fromkeys(_PRODUCTS, _if_several(product)),
            **dict.fromkeys(DENSE, _weighted(dense)),
            **dict.fromkeys(CONVOLUTIONS, _weighted(convolution)),
            "mul": _mul(product),
            "div": Depends(_div),
            "standardise": standardised,
            "length": shared,
            "softmax": softmax,
        }
    )


def _weighted(rule: Treatment) -> Depends:
    """`rule` for weights that are the model's own; weights that it computes are factors."""

    def choose(*args: Any, **kwargs: Any) -> Treatment:
        found = only_first(shared).choose(*args, **kwargs)
        return rule if found is PLAIN else found

    return Depends(choose)


def composite(name: str, eps: float, amount: float) -> Table:
    """A composite by name: which rule for dense layers, and which for convolutions."""
    makers: Mapping[str, Callable[[], Table]] = {
        "zero": lambda: table(PLAIN, PLAIN),
        "epsilon": lambda: table(epsilon(eps), epsilon(eps)),
        "gamma": lambda: table(gamma(amount, eps), gamma(amount, eps)),
        "epsilon_gamma": lambda: table(epsilon(eps), gamma(amount, eps)),
        "epsilon_plus": lambda: table(epsilon(eps), z_plus(eps)),
        "epsilon_alpha2_beta1": lambda: table(epsilon(eps), alpha_beta(2, 1, eps)),
        "alpha1_beta0": lambda: table(z_plus(eps), z_plus(eps)),
        "cp": lambda: table(epsilon(eps), epsilon(eps), gated, constant),
    }
    if name not in makers:
        refuse("composite", repr(name), "the name of a composite", nearest(str(name), makers))
    return makers[name]()
