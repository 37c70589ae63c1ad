"""Layer-wise relevance propagation as a gradient under rules: the rules for layers with weights, z = sum_i x_i w_i + b.

The relevance of a value is R = x c; a rule says how c is carried back. Where every contribution to a sum gets its share
of R in proportion, c moves as a gradient does: LRP-0 is the gradient, sums, averages and movements of data need no rule
at all, and relevance splits rightly where a network branches. So a rule here maps the c of y to that of x.

Outright rules, for first layers, say what the relevance of x is instead: `flat`, `w_square`, `box` (see `carry`).
With `bias`, z counts the bias, which keeps its share of the relevance; without, the values get all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.tables import Op, Pull

from .layer import Layer, Pulled, Weighted
from .relevance import constant, divided, gated, identity, shared, standardised

__all__ = [
    "alpha_beta", "box", "constant", "divided", "epsilon", "flat", "gamma", "gated", "identity", "reweighted", "shared",
    "standardised", "w_square", "z_plus",
]  # fmt: skip


def _least(epsilon: float, z: Tensor) -> float:
    """Epsilon, or what is more than zero in the dtype of z."""
    return max(epsilon, torch.finfo(z.dtype).tiny)


def _stable(z: Tensor, epsilon: float) -> Tensor:
    """z + epsilon sign(z)."""
    least = torch.full((), _least(epsilon, z), dtype=z.dtype, device=z.device)
    signed = torch.copysign(least, z)
    return signed + z if torch.is_grad_enabled() else signed.add_(z)


def _damped(y: Tensor, back: Callable[[Tensor], Any], epsilon: float) -> Callable[[Tensor], Any]:
    """What is pulled back of c y / (y + epsilon sign(y)), which is c - c epsilon / (|y| + epsilon)."""
    least = _least(epsilon, y)
    size = y.abs().add_(least)
    return lambda gy: back(torch.addcdiv(gy, gy, size, value=-least))


def _scaled(share: Tensor, back: Pulled) -> Pulled:
    """What is pulled back of c times a share."""
    return lambda gy: back(gy * share)


def epsilon(epsilon: float = 1e-9, bias: bool = True) -> Weighted:
    """LRP-epsilon: shares x_i w_i of z + epsilon sign(z), which absorbs the relevance of small sums.

    Bach et al. 2015, equation 58. Fits any operation, also those without weights.
    """

    def shares(layer: Layer) -> Pulled:
        z = layer.y if bias else layer.linear
        pull = _damped(z, layer.back, epsilon) if z is layer.y else _scaled(layer.y / _stable(z, epsilon), layer.back)
        if not layer.measured:
            return pull
        least, y = _least(epsilon, z), layer.y.clone()
        size = z.abs() + least

        def told(gy: Tensor) -> Tensor:
            layer.keep(torch.where(size.isinf(), 0, gy * y * least / size))  # masked sums have no relevance
            return pull(gy)

        return told

    def otherwise(op: Op) -> Pull:
        return _damped(op.y, op.vjp, epsilon)

    return Weighted(shares, otherwise=otherwise, proportional=bias)


def gamma(gamma: float = 0.25, epsilon: float = 1e-9, bias: bool = True) -> Weighted:
    """LRP-gamma: contributions of the sign of z count 1 + gamma times (generalised to negative x and z).

    Montavon et al. 2019, section 10.2.2; Andéol et al. 2021, for values of both signs. With P the
    contributions that are positive, z > 0 is shared as z + gamma P, and z < 0 as z + gamma (z - P).
    """

    def shares(layer: Layer) -> Pulled:
        more, signed, first = layer.w.clamp(min=0), layer.signed, layer.x >= 0
        positive, pull = layer.through(layer.x.clamp(min=0) if signed else layer.x, more)
        if signed:
            positive = positive + layer.run(layer.x.clamp(max=0), layer.w - more)
        z = layer.y if bias else layer.linear
        on = z > 0
        like = torch.where(on, positive, layer.linear - positive)  # what has the sign of z
        if bias and layer.b is not None:
            like = like + torch.where(on, layer.b.clamp(min=0), layer.b.clamp(max=0))
        ratio, sign = layer.y / _stable(z + gamma * like, epsilon), on.to(z.dtype) * 2 - 1
        both = torch.where(on, ratio, (1 + gamma) * ratio)

        def share(gy: Tensor) -> Tensor:
            s = gy * ratio
            mixed = gamma * pull(s * sign)  # through positive weights; those of the others are w less these
            if not signed:
                return layer.back(gy * both) + mixed
            of_p, of_n = layer.back(torch.where(on, s, 0)), layer.back(torch.where(on, 0, s))
            return torch.where(first, of_p + (1 + gamma) * of_n + mixed, (1 + gamma) * of_p + of_n - mixed)

        return share

    return Weighted(shares)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, epsilon: float = 1e-9, bias: bool = True) -> Weighted:
    """LRP-alpha-beta: alpha shares of what speaks for z, less beta shares of what speaks against it.

    Bach et al. 2015, equation 60; alpha - beta = 1 conserves relevance.
    """
    if abs(alpha - beta - 1) > 1e-9:
        refuse("alpha, beta", f"{alpha} and {beta}", "alpha - beta = 1, so that relevance is conserved")

    def shares(layer: Layer) -> Pulled:
        more, signed = layer.w.clamp(min=0), layer.signed
        up, first = (layer.x.clamp(min=0), layer.x >= 0) if signed else (layer.x, None)
        parts = []
        for factor, for_z in ((alpha, True), (-beta, False)):
            if factor == 0:
                continue
            less = layer.w - more if signed or not for_z else more
            one, two = (more, less) if for_z else (less, more)
            z, pull_up = layer.through(up, one)
            pull_down = None
            if signed:
                down, pull_down = layer.through(layer.x.clamp(max=0), two)
                z = z + down
            if bias and layer.b is not None:
                z = z + (layer.b.clamp(min=0) if for_z else layer.b.clamp(max=0))
            least = _least(epsilon, z) * (1 if for_z else -1)
            z = z + least
            parts.append((layer.y / z if factor == 1 else factor * layer.y / z, least, pull_up, pull_down))

        def pulled(s: Tensor, least: float, pull_up: Pulled, pull_down: Pulled | None) -> Tensor:
            layer.keep(s.sum() * least)
            found = pull_up(s)
            return found if pull_down is None or first is None else torch.where(first, found, pull_down(s))

        def share(gy: Tensor) -> Tensor:
            total, *others = (pulled(gy * ratio, least, up, down) for ratio, least, up, down in parts)
            return total + others[0] if others else total

        return share

    return Weighted(shares)


def z_plus(epsilon: float = 1e-9, bias: bool = True) -> Weighted:
    """LRP-z+: shares of what speaks for z alone; alpha-beta with alpha = 1, beta = 0 (Montavon et al. 2017)."""
    return alpha_beta(1.0, 0.0, epsilon, bias)


def reweighted(change: Callable[[Layer], tuple[Tensor, Any]], epsilon: float = 1e-9) -> Weighted:
    """Shares in proportion to x_i w_i' and b', for the weights and the bias that `change` has for a layer."""

    def shares(layer: Layer) -> Pulled:
        weights, bias = change(layer)
        z, pull = layer.through(layer.x, weights)
        ratio = layer.y / _stable(z + bias, epsilon)
        return lambda gy: pull(gy * ratio)

    return Weighted(shares, otherwise=lambda op: op.vjp)


def flat(epsilon: float = 1e-9) -> Weighted:
    """LRP-flat: the same share for all values that a sum reads, whatever they are (Lapuschkin et al. 2019).

    For first layers, where it shows which places matter, not which of their values.
    """

    def shares(layer: Layer) -> Pulled:
        return _by_weights(layer, torch.ones_like(layer.w), epsilon)

    return Weighted(shares, outright=True)


def w_square(epsilon: float = 1e-9) -> Weighted:
    """LRP-w-square: shares w_i^2, for first layers that read any real number (Montavon et al. 2017, deep Taylor)."""

    def shares(layer: Layer) -> Pulled:
        return _by_weights(layer, layer.w.square(), epsilon)

    return Weighted(shares, outright=True)


def _by_weights(layer: Layer, weights: Tensor, epsilon: float) -> Pulled:
    """Shares of relevance in proportion to weights alone."""
    z, pull = layer.through(torch.ones_like(layer.x), weights)
    return lambda relevance: pull(relevance / _stable(z, epsilon))


def box(low: Any, high: Any, epsilon: float = 1e-9) -> Weighted:
    """LRP-zB: shares x_i w_i - low_i w_i^+ - high_i w_i^- (Montavon et al. 2017).

    For first layers whose values lie between `low` and `high`: numbers, or tensors that broadcast against x, as
    (C, 1, 1) for images.
    """

    def shares(layer: Layer) -> Pulled:
        up, x = layer.w.clamp(min=0), layer.x.clone()
        bounds = [torch.as_tensor(t, dtype=x.dtype, device=x.device) for t in (low, high)]
        least, most = (t.expand_as(x) for t in bounds)
        room = 1e-5 * (most - least)  # bounds are computed as well
        if bool((x < least - room).any() or (x > most + room).any()):
            given = f"values from {x.min():.4g} to {x.max():.4g}, and a box that does not hold them"
            refuse("box", given, "the lowest and the highest value that the first layer can be given")
        below, pull_up = layer.through(least, up)
        above, pull_down = layer.through(most, layer.w - up)
        z = _stable(layer.linear - below - above, epsilon)

        def share(relevance: Tensor) -> Tensor:
            s = relevance / z
            return x * layer.back(s) - least * pull_up(s) - most * pull_down(s)

        return share

    return Weighted(shares, outright=True)
