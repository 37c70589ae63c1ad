"""Operations as a compiler spells them, in graphs of torch.export and in traces: each as the function users call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import Decompose, Treatment

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    dims = weight.ndim - 3
    if transposed:
        return _TRANSPOSED[dims](input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _CONVOLUTIONS[dims](input, weight, bias, stride, padding, dilation, groups)


def _indexed(self: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    return self[tuple(slice(None) if index is None else index for index in indices)]


def _with_statistics(native: Callable[..., Any], usual: Callable[..., Tensor]) -> Treatment:
    """The usual norm; what else the native one returns, its statistics, has no gradient there either."""

    def norm(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        held = [a.detach() if isinstance(a, Tensor) else a for a in args]
        return usual(*args, **kwargs), *native(*held, **kwargs)[1:]

    return Decompose(norm)


def _layer_norm(input: Tensor, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Tensor:
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def _group_norm(input: Tensor, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: int, eps: float) -> Tensor:
    return F.group_norm(input, group, weight, bias, eps)


def _batch_norm(input: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float) -> Tensor:
    return F.batch_norm(input, mean, var, weight, bias, False, momentum, eps)


def _batch_norm_in_training(input: Tensor, weight: Any, bias: Any, *args: Any) -> Tensor:
    *running, training, momentum, eps = args  # whose statistics may be left out
    mean, var = running or (None, None)
    return F.batch_norm(input, mean, var, weight, bias, training, momentum, eps)


NATIVE: dict[str, Treatment] = {
    "convolution": Decompose(_convolution),
    "index": Decompose(_indexed),
    "native_layer_norm": _with_statistics(torch.native_layer_norm, _layer_norm),
    "native_group_norm": _with_statistics(torch.native_group_norm, _group_norm),
    "native_batch_norm": _with_statistics(torch.native_batch_norm, _batch_norm_in_training),
    "native_batch_norm_legit": _with_statistics(torch._native_batch_norm_legit, _batch_norm_in_training),
    "native_batch_norm_legit_no_training": _with_statistics(torch._native_batch_norm_legit_no_training, _batch_norm),
}
