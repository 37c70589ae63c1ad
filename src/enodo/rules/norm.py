"""A batch or instance norm as a call gives it, however it is spelt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.values import accumulator

_NATIVE = 9  # arguments of torch's own norms, one more than those of torch.nn.functional have


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
        return (_native if len(args) + len(kwargs) == _NATIVE else _functional)(*args, **kwargs)

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


def _functional(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = None,
    eps: float = 1e-5,
    use_input_stats: bool = False,
) -> Norm:
    """Of F.batch_norm and F.instance_norm."""
    return Norm(input, running_mean, running_var, weight, bias, eps, training or use_input_stats)


def _native(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Any,
    running_var: Any,
    training: bool = False,
    momentum: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = False,
    use_input_stats: bool = False,
) -> Norm:
    """Of their namesakes in torch."""
    return Norm(input, running_mean, running_var, weight, bias, eps, training or use_input_stats)
