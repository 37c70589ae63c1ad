"""A batch or instance norm as a call gives it, however it is spelt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.values import accumulator

# The arguments of F.batch_norm and F.instance_norm, and of their namesakes in torch, in order.
_FUNCTIONAL = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NATIVE = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn_enabled")


@dataclass
class Norm:
    """A batch norm of x; without a mean, by the statistics of the batch. Or an instance norm."""

    x: Tensor
    mean: Any
    var: Any
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    training: bool = False

    @staticmethod
    def of(*args: Any, **kwargs: Any) -> Norm:
        """The norm of a call; an instance norm in training normalises by the statistics of x."""
        names = _NATIVE if len(args) + len(kwargs) == len(_NATIVE) else _FUNCTIONAL
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        mean, var, weight, bias = map(given.get, ("running_mean", "running_var", "weight", "bias"))
        training = given.get("use_input_stats", given.get("training", False))
        return Norm(given["input"], mean, var, weight, bias, given.get("eps", 1e-5), training)

    def __call__(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=self.eps)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As F.batch_norm has them."""
        return self.x, self.mean, self.var, self.weight, self.bias, self.training, 0.1, self.eps

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """What channels are multiplied by, and what is added: (C,), (C,)."""
        mean = self.mean.to(accumulator(self.x.dtype))
        scale = torch.rsqrt(self.var + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        return scale, -mean * scale if self.bias is None else torch.addcmul(self.bias, mean, scale, value=-1)
