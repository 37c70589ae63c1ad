"""A batch norm as a call gives it, however it is spelt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.values import accumulator


@dataclass
class Norm:
    """A batch norm of x; without a mean, by the statistics of the batch."""

    x: Tensor
    mean: Any
    var: Any
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    training: bool = False

    @staticmethod
    def of(*args: Any, **kwargs: Any) -> Norm:
        """The norm that F.batch_norm does, or torch.batch_norm, which has nine arguments in another order."""
        if len(args) + len(kwargs) == 9:
            x, weight, bias, mean, var, training, _, eps, _ = (*args, *kwargs.values())
            return Norm(x, mean, var, weight, bias, eps, training)
        return _norm(*args, **kwargs)

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
        return scale, -mean * scale if self.bias is None else self.bias - mean * scale


def _norm(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Norm:
    return Norm(input, running_mean, running_var, weight, bias, eps, training)
