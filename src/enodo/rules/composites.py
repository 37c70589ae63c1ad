"""Operations made of others: each as a function that does the same by operations for which tables have rules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.embeddings import open_bag
from enodo.core.operations import is_live, operation
from enodo.core.tables import PLAIN, Decompose, Depends, Plain, Refuse, Treatment

from .linear import only_first
from .native import NATIVE
from .norm import Norm
from .sampling import READ


@operation
def standardise(x: Tensor, dims: int, eps: float, centre: bool) -> Tensor:
    """x over the root of its mean square (its variance, with `centre`) in the last dimensions."""
    shape = x.shape[x.ndim - dims :]
    return F.layer_norm(x, shape, eps=eps) if centre else F.rms_norm(x, shape, eps=eps)


@operation
def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """weight * x + bias, with weights that are constants of the model."""
    y = x if weight is None else x * weight
    return y + bias if bias is not None else y if weight is not None else x.clone()


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if is_live(weight) or is_live(bias):
        y = x if weight is None else x * weight
        return y if bias is None else y + bias
    return x if weight is None and bias is None else affine(x, weight, bias)


def _layer_norm(
    input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any, **__: Any
) -> Tensor:
    dims = len(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else 1
    return _scaled(standardise(input, dims, eps, True), weight, bias)


def _rms_norm(input: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _scaled(standardise(input, len(normalized_shape), eps, False), weight, None)


def _by_channel(t: Any, ndim: int) -> Any:
    return t if t is None else t.reshape(-1, *[1] * (ndim - 2))


def _group_norm(
    input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any, **__: Any
) -> Tensor:
    groups = standardise(input.reshape(len(input), num_groups, -1), 1, eps, True).reshape(input.shape)
    return _scaled(groups, _by_channel(weight, input.ndim), _by_channel(bias, input.ndim))


_MANY = 1 << 17  # numbers from which on a norm is the slower, also forward


def _batch_norm(*args: Any, **kwargs: Any) -> Treatment:
    """Linear, unless it normalises by the batch, as in training: rows then depend on their mates in the model too."""
    norm = Norm.of(*args, **kwargs)
    if not (norm.training or norm.mean is None or is_live(norm.weight) or is_live(norm.bias)):
        return _FOLDED if norm.x.numel() >= _MANY else _FOLDED_UNDER_VMAP
    return Decompose(_batch_statistics)


def _batch_statistics(*args: Any, **kwargs: Any) -> Tensor:
    norm = Norm.of(*args, **kwargs)
    x, first = norm.x, norm.x.transpose(0, 1)
    if norm.training or norm.mean is None:
        y = standardise(first.flatten(1), 1, norm.eps, True).reshape(first.shape).transpose(0, 1)
    else:
        scale = torch.rsqrt(norm.var + norm.eps)
        y = affine(x, _by_channel(scale, x.ndim), _by_channel(-norm.mean * scale, x.ndim))
    return _scaled(y, _by_channel(norm.weight, x.ndim), _by_channel(norm.bias, x.ndim))


def _folded(*args: Any, **kwargs: Any) -> Tensor:
    norm = Norm.of(*args, **kwargs)
    scale, shift = (_by_channel(t, norm.x.ndim) for t in norm.factors)
    y: Tensor = (norm.x * scale).add_(shift)
    return y.to(norm.x.dtype)


# One product and one sum: torch takes a norm's own gradient in twice the time, and under vmap one by one.
_FOLDED, _FOLDED_UNDER_VMAP = Plain(_folded), Plain(_folded, alone=False)


def _instance_norm(*args: Any, **kwargs: Any) -> Tensor:
    norm = Norm.of(*args, **kwargs)
    if not norm.training:
        return F.batch_norm(*norm.arguments)
    return _group_norm(norm.x, norm.x.shape[1], norm.weight, norm.bias, norm.eps)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = torch.matmul(query, key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        zeros = torch.zeros(attn_mask.shape, dtype=scores.dtype, device=scores.device)
        attn_mask = zeros.masked_fill(~attn_mask, float("-inf"))
    blind: Any = False  # queries that may look nowhere, and get nothing
    if attn_mask is not None:
        if not is_live(attn_mask):
            blind = (attn_mask == float("-inf")).all(-1, keepdim=True)
            attn_mask = attn_mask.masked_fill(blind, 0.0)
        scores = scores + attn_mask
    weights = torch.softmax(scores, -1)
    if isinstance(blind, Tensor) and blind.any():
        weights = weights.masked_fill(blind, 0.0)
    return torch.matmul(F.dropout(weights, dropout_p) if dropout_p else weights, value)


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    a, b = input.chunk(2, dim)
    return a * torch.sigmoid(b)


def power(input: Any, exponent: Any) -> Tensor:
    return torch.exp(torch.log(input) * exponent)


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = [torch.linalg.vector_norm(t, dim=dim).clamp_min(eps) for t in (x1, x2)]
    y: Tensor = (x1 * x2).sum(dim) / (lengths[0] * lengths[1])
    return y


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **_: Any
) -> Tensor:
    """The norm of the entries along some dimensions."""
    x = x if dtype is None else x.to(dtype)
    if dim is None:
        shape = [1] * x.ndim if keepdim else []
        return vector_norm(x.flatten(), ord, 0).reshape(shape)
    ord = 2 if ord is None else ord
    if ord in (0, 1):
        return (x.abs() if ord else x.abs().sign()).sum(dim, keepdim)
    if ord in (float("inf"), float("-inf")):
        return x.abs().amax(dim, keepdim) if ord > 0 else x.abs().amin(dim, keepdim)
    return length(x, dim, keepdim) if ord == 2 else x.abs().pow(ord).sum(dim, keepdim).pow(1 / ord)


def _norm(A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, **_: Any) -> Treatment:
    """Of vectors, and of matrices where it is a sum of squares, or the largest or smallest of sums."""
    matrix = (A.ndim == 2 if dim is None else isinstance(dim, (tuple, list)) and len(dim) == 2) and ord is not None
    if not matrix:
        return Decompose(vector_norm)
    if ord == "fro":
        return Decompose(lambda A, ord, dim=None, keepdim=False, **rest: vector_norm(A, 2, dim, keepdim, **rest))
    if ord in (1, -1, float("inf"), float("-inf")):
        return Decompose(_largest_sum)
    return Refuse(f"is the matrix norm {ord!r}, made of singular values")


def _largest_sum(A: Tensor, ord: float, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    rows, columns = (d % A.ndim for d in (dim or (-2, -1)))
    summed, searched = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = (A if dtype is None else A.to(dtype)).abs().sum(summed, keepdim=True)
    y = sums.amax(searched, keepdim=True) if ord > 0 else sums.amin(searched, keepdim=True)
    return y if keepdim else y.squeeze((rows, columns))


@operation
def length(x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The Euclidean norm."""
    y: Tensor = torch.linalg.vector_norm(x, 2, dim, keepdim)
    return y


def _moments(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None, **_: Any
) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    dim = tuple(range(input.ndim)) if dim is None else dim
    mean = input.mean(dim, keepdim=True)
    centred = input - mean
    lost = correction if correction is not None else 1 if unbiased is None else int(unbiased)
    count = input.numel() // mean.numel()
    variance = (centred * centred).sum(dim, keepdim=keepdim) / max(count - lost, 0)
    return variance, mean if keepdim else mean.squeeze(dim)


def _addmm(input: Tensor, *factors: Tensor, beta: Any = 1, alpha: Any = 1, **named: Tensor) -> Tensor:
    a, b = _factors(factors, named)
    y: Tensor = input * beta + torch.matmul(a, b) * alpha
    return y


def _factors(given: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    """mat1 and mat2, batch1 and batch2, mat and vec: in the order of the alphabet."""
    return [*given, *(named[name] for name in sorted(named))]


def _unless_both(input: Any, *factors: Any, beta: Any = 1, alpha: Any = 1, **named: Any) -> Treatment:
    """Linear, unless both factors are on the path."""
    return Decompose(_addmm) if all(map(is_live, _factors(factors, named))) else PLAIN


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.bilinear, whose weight may be computed too, as the two products that it is."""
    y = torch.einsum("...oj,...j->...o", torch.einsum("...i,oij->...oj", input1, weight), input2)
    return y if bias is None else y + bias


def _bag(input: Any, weight: Any, *_: Any, mode: str = "mean", per_sample_weights: Any = None, **__: Any) -> Treatment:
    """Linear, unless it looks for the largest, or what is looked up and its weights are both on the path."""
    linear = mode != "max" and not (is_live(weight) and is_live(per_sample_weights))
    return PLAIN if linear else Decompose(open_bag)


def _trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    steps = dx if x is None else torch.diff(x if x.ndim < y.ndim else x.movedim(dim, -1))
    y = y.movedim(dim, -1)
    return ((y[..., 1:] + y[..., :-1]) * steps).sum(-1) / 2


COMPOSITES: dict[str, Treatment] = {
    **NATIVE,
    "affine": PLAIN,
    "batch_norm": Depends(_batch_norm),
    "layer_norm": Decompose(_layer_norm),
    "rms_norm": Decompose(_rms_norm),
    "group_norm": Decompose(_group_norm),
    "instance_norm": Decompose(_instance_norm),
    "scaled_dot_product_attention": Decompose(_attention),
    "embedding_bag": Depends(_bag),
    "grid_sample": READ,
    "trapezoid": only_first(Decompose(_trapezoid)),
    "glu": Decompose(_glu),
    "softmin": Decompose(lambda input, *args, **kwargs: F.softmax(-input, *args, **kwargs)),
    "cosine_similarity": Decompose(_cosine_similarity),
    "linalg_vector_norm": Decompose(vector_norm),
    "linalg_norm": Depends(_norm),
    "linalg_matrix_norm": Depends(lambda A, ord="fro", dim=(-2, -1), *_, **__: _norm(A, ord, dim)),
    "var": Decompose(lambda *args, **kwargs: _moments(*args, **kwargs)[0]),
    "std": Decompose(lambda *args, **kwargs: torch.sqrt(_moments(*args, **kwargs)[0])),
    "var_mean": Decompose(_moments),
    "std_mean": Decompose(lambda *args, **kwargs: ((m := _moments(*args, **kwargs))[0].sqrt(), m[1])),
    "logaddexp": Decompose(lambda input, other: torch.stack(torch.broadcast_tensors(input, other)).logsumexp(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), Depends(_unless_both)),
    "addcmul": Decompose(lambda input, tensor1, tensor2, *, value=1: input + tensor1 * tensor2 * value),
    "addcdiv": Decompose(lambda input, tensor1, tensor2, *, value=1: input + tensor1 / tensor2 * value),
    "lerp": Decompose(lambda input, end, weight: input + (end - input) * weight),
    "heaviside": Decompose(lambda input, values: torch.where(input == 0, values, (input.sign() + 1) / 2)),
    "rdiv": Decompose(lambda x, other: torch.div(other, x)),
}
