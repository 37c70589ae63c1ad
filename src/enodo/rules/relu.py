"""ReLUs that let only some gradients through, in every spelling of a ReLU, with or without an upper limit (ReLU6)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from enodo.core.tables import PLAIN, Bend, Depends, Op, Pull, Rule, Table, Treatment, closed

from .linear import LINEAR


def positive(gy: Tensor) -> Tensor:
    """The positive part of a gradient."""
    return gy.clamp(min=0)


# Positive gradients, where the ReLU is on (Springenberg et al. 2014, arXiv:1412.6806, section 3.4).
guided = Bend(positive)


@closed
def deconvolution(op: Op) -> Pull:
    """Positive gradients, wherever they come (Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1)."""
    return lambda gy: [positive(gy)]


def _rectifiers(rule: Rule) -> Table:
    def clamp(input: Any, min: Any = None, *_: Any, **__: Any) -> Treatment:
        return rule if _is_zero(min) else PLAIN

    def hardtanh(input: Any, min_val: Any = -1.0, *_: Any, **__: Any) -> Treatment:
        return rule if _is_zero(min_val) else PLAIN

    def threshold(input: Any, threshold: Any, value: Any, *_: Any, **__: Any) -> Treatment:
        return rule if _is_zero(threshold) and _is_zero(value) else PLAIN

    cut = Depends(clamp)
    cuts = {"clamp": cut, "clamp_min": cut, "hardtanh": Depends(hardtanh), "threshold": Depends(threshold)}
    return Table(LINEAR, PLAIN) | {"relu": rule, "relu6": rule, **cuts}


def _is_zero(bound: Any) -> bool:
    return isinstance(bound, (int, float)) and bound == 0


GUIDED = _rectifiers(guided)
DECONVOLUTION = _rectifiers(deconvolution)
