"""Losses, as functions that do the same by simpler operations: a loss may be what is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import Decompose, Treatment


def _reduced(loss: Tensor, reduction: Any) -> Tensor:
    return loss if reduction in ("none", 0) else loss.sum() if reduction in ("sum", 2) else loss.mean()


def _of_difference(fn: Callable[..., Tensor]) -> Decompose:
    """A loss that is a function of input less target."""

    def run(input: Tensor, target: Tensor, *_: Any, reduction: Any = "mean", **options: Any) -> Tensor:
        weight = options.pop("weight", None)
        loss = fn(input - target, **{k: v for k, v in options.items() if k in ("beta", "delta")})
        return _reduced(loss if weight is None else loss * weight, reduction)

    return Decompose(run)


def _huber(d: Tensor, delta: float = 1.0) -> Tensor:
    size = d.abs()
    inside = size.clamp(max=delta)
    return 0.5 * inside * inside + delta * (size - inside)


def _smooth_l1(d: Tensor, beta: float = 1.0) -> Tensor:
    return _huber(d, beta) / beta if beta else d.abs()


def _binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Any = None, *_: Any, reduction: Any = "mean", **__: Any
) -> Tensor:
    logs = [p.log().clamp(min=-100) for p in (input, 1 - input)]
    loss = -(target * logs[0] + (1 - target) * logs[1])
    return _reduced(loss if weight is None else loss * weight, reduction)


def _with_logits(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    *_: Any,
    reduction: Any = "mean",
    pos_weight: Any = None,
    **__: Any,
) -> Tensor:
    positive = target if pos_weight is None else target * pos_weight
    loss = -(positive * F.logsigmoid(input) + (1 - target) * F.logsigmoid(-input))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _divergence(
    input: Tensor, target: Tensor, *_: Any, reduction: Any = "mean", log_target: bool = False, **__: Any
) -> Tensor:
    logs = target if log_target else target.log()
    loss = (target.exp() if log_target else target) * (logs - input)
    return loss.sum() / len(loss) if reduction == "batchmean" else _reduced(loss, reduction)


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    logs = F.log_softmax(input, 1 if input.ndim > 1 else 0)
    if target.is_floating_point() or label_smoothing:
        classes = logs.shape[1]
        soft = target if target.is_floating_point() else F.one_hot(target, classes).movedim(-1, 1).to(logs.dtype)
        loss = -(logs * (soft * (1 - label_smoothing) + label_smoothing / classes)).sum(1)
        return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()
    return F.nll_loss(logs, target, weight, None, ignore_index, None, reduction)


LOSSES: dict[str, Treatment] = {
    "mse_loss": _of_difference(lambda d: d * d),
    "l1_loss": _of_difference(lambda d: d.abs()),
    "huber_loss": _of_difference(_huber),
    "smooth_l1_loss": _of_difference(_smooth_l1),
    "binary_cross_entropy": Decompose(_binary_cross_entropy),
    "binary_cross_entropy_with_logits": Decompose(_with_logits),
    "kl_div": Decompose(_divergence),
    "cross_entropy": Decompose(_cross_entropy),
}
