"""Losses, as functions that do the same by simpler operations: a loss may be what is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import Decompose, Treatment


def _reduced(loss: Tensor, reduction: Any) -> Tensor:
    return loss if reduction in ("none", 0) else loss.sum() if reduction in ("sum", 2) else loss.mean()


def _as_asked(fn: Callable[..., Tensor]) -> Decompose:
    """A loss, whose reduction may be spelt in two ways."""

    def run(*args: Any, size_average: Any = None, reduce: Any = None, **options: Any) -> Tensor:
        if size_average is not None or reduce is not None:
            each = reduce is False
            options["reduction"] = "none" if each else "sum" if size_average is False else "mean"
        return fn(*args, **options)

    return Decompose(run)


def _of_difference(fn: Callable[..., Tensor], weighs: bool = True) -> Decompose:
    """A loss that is a function of input less target; its mean is one with the weights, or else (`weighs`) of all."""

    def run(input: Tensor, target: Tensor, reduction: Any = "mean", weight: Any = None, **options: Any) -> Tensor:
        loss = fn(input - target, **options)
        if weight is None:
            return _reduced(loss, reduction)
        if weighs and reduction == "mean":
            loss, reduction = loss / weight.sum(), "sum"
        return _reduced(loss * weight, reduction)

    return _as_asked(run)


def _huber(d: Tensor, delta: float = 1.0) -> Tensor:
    size = d.abs()
    inside = size.clamp(max=delta)
    return 0.5 * inside * inside + delta * (size - inside)


def _smooth_l1(d: Tensor, beta: float = 1.0) -> Tensor:
    return _huber(d, beta) / beta if beta else d.abs()


def _binary_cross_entropy(input: Tensor, target: Tensor, weight: Any = None, reduction: Any = "mean") -> Tensor:
    logs = [p.log().clamp(min=-100) for p in (input, 1 - input)]
    loss = -(target * logs[0] + (1 - target) * logs[1])
    return _reduced(loss if weight is None else loss * weight, reduction)


def _with_logits(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: Any = "mean",
) -> Tensor:
    positive = target if pos_weight is None else target * pos_weight
    loss = -(positive * F.logsigmoid(input) + (1 - target) * F.logsigmoid(-input))
    return _reduced(loss if weight is None else loss * weight, reduction)


def _divergence(input: Tensor, target: Tensor, reduction: Any = "mean", log_target: bool = False) -> Tensor:
    loss = target.exp() * (target - input) if log_target else torch.xlogy(target, target) - target * input
    return loss.sum() / len(loss) if reduction == "batchmean" else _reduced(loss, reduction)


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    dim = 1 if input.ndim > 1 else 0
    logs = F.log_softmax(input, dim)
    if not (target.is_floating_point() or label_smoothing):
        return F.nll_loss(logs, target, weight, None, ignore_index, None, reduction)
    count: Any
    classes = logs.shape[dim]
    each = torch.ones(classes, dtype=logs.dtype, device=logs.device) if weight is None else weight
    each = each.reshape(-1, *[1] * (logs.ndim - 1 - dim))  # of the classes
    if target.is_floating_point():
        soft, count = target, logs.numel() // classes
    else:
        met = target != ignore_index
        soft = F.one_hot(target * met, classes).movedim(-1, dim).to(logs.dtype)
        each = each * met.unsqueeze(dim)
        count = (soft * each).sum()
    loss = -(logs * each * (soft * (1 - label_smoothing) + label_smoothing / classes)).sum(dim)
    return loss.sum() / count if reduction == "mean" else _reduced(loss, reduction)


LOSSES: dict[str, Treatment] = {
    "mse_loss": _of_difference(lambda d: d * d),
    "l1_loss": _of_difference(lambda d: d.abs()),
    "huber_loss": _of_difference(_huber, weighs=False),
    "smooth_l1_loss": _of_difference(_smooth_l1),
    "binary_cross_entropy": _as_asked(_binary_cross_entropy),
    "binary_cross_entropy_with_logits": _as_asked(_with_logits),
    "kl_div": _as_asked(_divergence),
    "cross_entropy": _as_asked(_cross_entropy),
}
