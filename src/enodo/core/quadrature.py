"""Rules for the integral over a path: nodes alpha in [0, 1], ascending, and weights that sum to one.

A path method averages gradients, integral_0^1 g(alpha) d alpha ~ sum_j w_j g(alpha_j). Along the path, smooth networks
converge geometrically under Gauss' and Fejer's rules; networks with kinks (ReLU) converge slowly under every rule.

`nested` is the family behind error control: each level keeps the nodes of the last, so that a change between two levels
costs only the new gradients, and no level touches the ends, where gradients may be singular (a LayerNorm of a zero
baseline). It is Fejer's second rule and not the Gauss-Patterson one: on transformers it is as accurate at equal cost,
it has levels without end, and its weights stay positive and exact to rounding. Fejer, Math. Z. 37 (1933); Waldvogel,
BIT 46 (2006), for the weights; Trefethen, SIAM Review 50 (2008), for why Gauss gains so little by twice the degree.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument, BadType, nearest, refuse

Array: TypeAlias = NDArray[np.float64]
Nodes: TypeAlias = tuple[Array, Array]  # nodes and weights, (n,) each, read-only

LEVELS = 16  # of the nested family; 65,535 nodes
STEEPEST = 100.0  # saturation; beyond, neighbouring nodes are no longer told apart


def rule(name: str, n: int) -> Nodes:
    """The `n` nodes and weights of the rule `name`, a key of `RULES`; made once and kept."""
    if not isinstance(name, str) or name not in RULES:
        kind = BadArgument if isinstance(name, str) else BadType
        refuse("quadrature", repr(name), "a rule of quadrature", nearest(str(name), RULES), kind)
    return _kept(name, _count("steps", n))


def nested(level: int) -> Nodes:
    """Level 1, 2, 3, ... of a nested family of rules, with 1, 3, 7, ..., 2^level - 1 nodes.

    The nodes at odd places, `nested(k)[0][1::2]`, are those of level k - 1 to the last bit; the others are new.
    Exact for polynomials of degree 2^level - 1.
    """
    level = _count("level", level)
    if level > LEVELS:
        refuse("level", level, f"at most {LEVELS}, which is {2**LEVELS - 1:,} nodes")
    return _kept("fejer", 2**level - 1)


def saturating(nodes: Array, weights: Array, c: float) -> Nodes:
    """Crowd a rule's nodes towards the baseline (c > 0) or towards the inputs (c < 0); c = 0 leaves them.

    alpha = (e^{cu} - 1) / (e^c - 1), for paths on which the score rises steeply and then saturates. The slope
    d alpha / du is folded into the weights, which are scaled to sum to one: a linear score stays exact under any rule.
    """
    if isinstance(c, bool) or not isinstance(c, (int, float, np.floating)):
        refuse("saturation", c, "a number", kind=BadType)
    if not abs(c) <= STEEPEST:  # not `>`: NaN is refused as well
        refuse("saturation", repr(c), f"a number between -{STEEPEST:g} and {STEEPEST:g}; 2 to 6 are common")
    if c == 0:
        return nodes, weights
    # Counted from the end where the exponential is largest, so that nothing overflows.
    slopes = weights * np.exp(c * (nodes - (c > 0)))
    return np.expm1(c * nodes) / math.expm1(c), slopes / math.fsum(slopes)


def _count(argument: str, given: Any) -> int:
    """`given` as a positive int."""
    try:
        n = operator.index(given)
    except TypeError:
        refuse(argument, given, "a positive int", kind=BadType)
    if isinstance(given, bool) or n < 1:
        refuse(argument, given, "a positive int", kind=BadType if isinstance(given, bool) else BadArgument)
    return n


@lru_cache(maxsize=256)
def _kept(name: str, n: int) -> Nodes:
    nodes, weights = RULES[name](n)
    nodes.flags.writeable = weights.flags.writeable = False  # everyone is given the same arrays
    return nodes, weights


def _gauss_legendre(n: int) -> Nodes:
    """Exact for degree 2n - 1: the fewest nodes for a smooth path.

    They are the roots of Legendre's polynomial, found by Newton's method from Tricomi's estimate. As eigenvalues, the
    way that numpy takes, 5,000 of them would need 400 MiB, when a path of as many points needs a pass.
    """
    x = np.cos((np.arange(n, 0, -1) - 0.25) / (n + 0.5) * np.pi) * (1 - (n - 1) / (8 * n**3))
    for _ in range(4):  # its error is of the order n^-4, and is squared each time
        value, slope = _legendre(n, x)
        x = x - value / slope
    weights = 1 / ((1 - x * x) * _legendre(n, x)[1] ** 2)
    weights = weights + weights[::-1]
    return (2 + x - x[::-1]) / 4, weights / math.fsum(weights)


def _legendre(n: int, x: Array) -> tuple[Array, Array]:
    """Legendre's polynomial of degree n, and its derivative."""
    before, value, slope_before, slope = np.zeros_like(x), np.ones_like(x), np.zeros_like(x), np.zeros_like(x)
    for k in range(n):
        slope_before, slope = slope, slope_before + (2 * k + 1) * value
        before, value = value, ((2 * k + 1) * x * value - k * before) / (k + 1)
    return value, slope


def _fejer(n: int) -> Nodes:
    """Fejer's second rule, alpha_k = sin^2(t_k / 2) with t_k = k pi / (n + 1); exact for degree n - 1 (n odd: n).

    w_k = 2 sin(t_k) / (n + 1) * sum_{m odd <= n} sin(m t_k) / m; the sums are one sine transform.
    """
    angles = np.arange(1, n + 1) / (n + 1) * np.pi  # divided first: the levels agree to the last bit
    harmonics = np.zeros(2 * (n + 1))
    odd = np.arange(1, n + 1, 2)
    harmonics[odd] = 1 / odd
    weights = -np.fft.fft(harmonics).imag[1 : n + 1] * 2 * np.sin(angles) / (n + 1)
    return np.sin(angles / 2) ** 2, weights


def _left(n: int) -> Nodes:
    """alpha_j = j / n, from the baseline on; exact for degree 0, as `_right`."""
    return np.arange(n) / n, np.full(n, 1 / n)


def _right(n: int) -> Nodes:
    """alpha_j = (j + 1) / n, up to the inputs."""
    return np.arange(1, n + 1) / n, np.full(n, 1 / n)


def _middle(n: int) -> Nodes:
    """alpha_j = (j + 1/2) / n; exact for degree 1."""
    return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)


def _trapezoid(n: int) -> Nodes:
    """alpha_j = j / (n - 1), both ends included at half weight; exact for degree 1. One node is the midpoint."""
    if n == 1:
        return _middle(1)
    weights = np.full(n, 1 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


RULES: dict[str, Callable[[int], Nodes]] = {
    "gausslegendre": _gauss_legendre,
    "fejer": _fejer,
    "riemann_left": _left,
    "riemann_right": _right,
    "riemann_middle": _middle,
    "riemann_trapezoid": _trapezoid,
}
