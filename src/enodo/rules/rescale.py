"""DeepLIFT's rescale rule: an operation's gradient is the slope of the secant from the baseline to the inputs.

A multiplier m of an operation y = f(x) is complete: the sum of m (x - x0) is y - y0. Where x and x0 are close, it is
the derivative. Factors share the change of a product equally, ab - a0 b0 = (a - a0) (b + b0)/2 + (b - b0) (a + a0)/2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import is_live, tensors_in
from enodo.core.tables import PLAIN, Decompose, Depends, Refuse, Table, Treatment

from . import composites, elementwise, extremes, normalised
from .choices import CHOICES
from .convolutions import quickly_back
from .differences import bilinear, matrix_product, product, quotient, rectified, secant
from .linear import LINEAR, only_first
from .losses import LOSSES
from .pools import averaged
from .recurrent import RECURRENT
from .sampling import sampled
from .sequences import SEQUENCES, contracted


def _div(input: Any, other: Any, *, rounding_mode: Any = None) -> Treatment:
    if rounding_mode is not None:
        return Refuse("rounds a quotient")
    return quotient if isinstance(other, Tensor) else PLAIN


def _mul(input: Any, other: Any) -> Treatment:
    return product if isinstance(input, Tensor) and isinstance(other, Tensor) else PLAIN


def _einsum(equation: Any, *operands: Any) -> Treatment:
    live = sum(is_live(t) for _, t in tensors_in(operands, {}))
    return Decompose(contracted) if live > 2 and isinstance(equation, str) else bilinear


def _abs(input: Any) -> Treatment:
    if not input.is_complex():
        return secant(None)
    return Decompose(lambda input: composites.length(torch.view_as_real(input), -1, False))


def _power(input: Any, exponent: Any) -> Treatment:
    return Decompose(composites.power) if is_live(exponent) and is_live(input) else secant(1 / 3, relative=True)


_BILINEAR = "tensordot outer ger dot vdot inner kron cross linalg_cross".split()
WEIGHTED = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split()

RESCALE = Table(
    {
        **LINEAR,
        **composites.COMPOSITES,
        **LOSSES,
        **SEQUENCES,
        **RECURRENT,
        **extremes.EXTREMES,
        **dict.fromkeys(elementwise.KINKED, secant(3 / 4)),
        **dict.fromkeys(elementwise.CUT, secant(None)),
        **extremes.clamps(secant(None)),
        "relu": rectified,
        **dict.fromkeys(elementwise.SMOOTH, secant(1 / 3)),
        **dict.fromkeys(elementwise.SINGULAR, secant(1 / 3, relative=True)),
        **dict.fromkeys(_BILINEAR, bilinear),
        **dict.fromkeys(WEIGHTED, only_first(bilinear)),
        "conv2d": quickly_back(only_first(bilinear)),
        "avg_pool2d": Depends(averaged),
        "bilinear": Decompose(composites.bilinear),
        "einsum": Depends(_einsum),
        **dict.fromkeys(("matmul", "mm", "bmm", "mv"), matrix_product),
        **CHOICES,
        "abs": Depends(_abs),
        "mul": Depends(_mul),
        "div": Depends(_div),
        "pow": Depends(_power),
        "softmax": normalised.softmax,
        "log_softmax": normalised.log_softmax,
        "logsumexp": normalised.logsumexp,
        "standardise": normalised.standardise,
        "length": normalised.length,
        "grid_sample": only_first(sampled),
    },
    compares=True,
)
