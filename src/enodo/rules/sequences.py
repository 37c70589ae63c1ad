"""Operations over a run of entries, or over all pairs, as functions that do the same by simpler ones."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from enodo.core.operations import is_live
from enodo.core.tables import PLAIN, Decompose, Depends, Refuse, Treatment

from .composites import vector_norm


def _prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Neighbours are multiplied until one is left."""
    x = (input if dtype is None else input.to(dtype)).flatten() if dim is None else input
    at = 0 if dim is None else dim
    x = x.movedim(at, -1)
    while x.shape[-1] > 1:
        n = x.shape[-1]
        pairs = x[..., 0 : n - n % 2 : 2] * x[..., 1::2]
        x = torch.cat([pairs, x[..., n - 1 :]], -1) if n % 2 else pairs
    x = x.squeeze(-1)
    return x.unsqueeze(at) if keepdim and dim is not None else x


def _cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Products of runs twice as long, until they reach from the start (Hillis and Steele 1986)."""
    x = (input if dtype is None else input.to(dtype)).movedim(dim, -1)
    reach = 1
    while reach < x.shape[-1]:
        x = torch.cat([x[..., :reach], x[..., reach:] * x[..., :-reach]], -1)
        reach *= 2
    return x.movedim(-1, dim)


def _so_far(x: Tensor, dim: int) -> Tensor:
    """(..., t, s): the entries of x up to each place t, minus infinity after it."""
    n = x.shape[dim]
    later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
    return x.movedim(dim, -1)[..., None, :].expand(*[-1] * (x.ndim - 1), n, -1).masked_fill(later, float("-inf"))


def _cummax(input: Tensor, dim: int) -> Any:
    values, indices = torch.max(_so_far(input, dim), -1)
    return torch.return_types.cummax((values.movedim(-1, dim), indices.movedim(-1, dim)))


def _cummin(input: Tensor, dim: int) -> Any:
    values, indices = torch.max(_so_far(-input, dim), -1)
    return torch.return_types.cummin((-values.movedim(-1, dim), indices.movedim(-1, dim)))


def _logcumsumexp(input: Tensor, dim: int) -> Tensor:
    return torch.logsumexp(_so_far(input, dim), -1).movedim(-1, dim)


def _quantile(
    input: Tensor, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear", **_: Any
) -> Tensor:
    """Between two entries of the sorted values."""
    at = 0 if dim is None else dim
    x = torch.sort((input.flatten() if dim is None else input).movedim(at, -1), -1)[0]
    where = torch.as_tensor(q, dtype=x.dtype, device=x.device) * (x.shape[-1] - 1)
    low = where.round() if interpolation == "nearest" else where.floor()
    high = where.ceil()
    part = {"linear": where - low, "midpoint": (high - low) / 2, "higher": high - low}.get(interpolation, 0 * where)
    below, above = (x.index_select(-1, t.reshape(-1).clamp(max=x.shape[-1] - 1).long()) for t in (low, high))
    y = below + (above - below) * part.reshape(-1)
    y = y[..., 0] if where.ndim == 0 else y.movedim(-1, 0)
    return y if not keepdim else y.unsqueeze(at if where.ndim == 0 or at < 0 else at + 1)


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, *_: Any, **__: Any) -> Tensor:
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


def _pdist(input: Tensor, p: float = 2.0) -> Tensor:
    one, other = torch.triu_indices(len(input), len(input), 1, device=input.device)
    return vector_norm(input[one] - input[other], p, -1)


def _pairwise(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def _dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    return vector_norm(torch.flatten(input - other), p, 0)


def _xlogy(input: Any, other: Any) -> Tensor:
    """Zero where `input` is, also where the logarithm is not finite."""
    input, other = torch.as_tensor(input), torch.as_tensor(other)
    y: Tensor = input * torch.log(torch.where(input == 0, torch.ones_like(other), other))
    return y


def contracted(equation: str, *operands: Any) -> Tensor:
    """An einsum of several factors as a chain of einsums of two."""
    factors = list(operands[0] if isinstance(operands[0], (list, tuple)) else operands)
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow:  # what stands once is kept, in the order of the alphabet
        output = "..." * ("..." in inputs) + "".join(sorted(i for i in inputs if i.isalpha() and inputs.count(i) == 1))
    while len(factors) > 2:
        one, two, *rest = terms
        wanted = "".join([*rest, output])
        kept = "".join(i for i in dict.fromkeys(one + two) if i.isalpha() and i in wanted)
        kept = "..." * ("..." in one + two) + kept
        factors[:2] = [torch.einsum(f"{one},{two}->{kept}", *factors[:2])]
        terms = [kept, *rest]
    y: Tensor = torch.einsum(f"{','.join(terms)}->{output}", *factors)
    return y


def _solved(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """A Y = B (or Y A = B) for a triangular A, by substitution, a row after the other."""
    if not left:
        return _solved(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    if upper:
        return _solved(A.flip(-1, -2), B.flip(-2), upper=False, unitriangular=unitriangular).flip(-2)
    rows: list[Tensor] = []
    for i in range(A.shape[-1]):
        y = B[..., i : i + 1, :]
        y = y - torch.matmul(A[..., i : i + 1, :i], torch.cat(rows, -2)) if rows else y.expand(*A.shape[:-2], -1, -1)
        rows.append(y if unitriangular else y / A[..., i : i + 1, i : i + 1])
    return torch.cat(rows, -2)


def _unless_fixed(A: Any, B: Any, **_: Any) -> Treatment:
    """Linear in B."""
    return Decompose(_solved) if is_live(A) else PLAIN


def _scattered(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The largest (smallest) of what comes to each place: side by side in a table with a column for each that comes."""
    if reduce == "amin":
        return -_scattered(-input, dim, index, -src, "amax", include_self=include_self)
    src = src[tuple(slice(n) for n in index.shape)]
    came = torch.zeros(input.shape, dtype=torch.long, device=index.device)
    came = came.scatter_add(dim, index, torch.ones_like(index))
    order = index.argsort(stable=True, dim=dim)
    first = (came.cumsum(dim) - came).gather(dim, index.gather(dim, order))  # where its run begins, once sorted
    where = torch.arange(index.shape[dim], device=index.device).view(-1, *[1] * (index.ndim - 1 - dim % index.ndim))
    column = torch.empty_like(index).scatter(dim, order, where - first)
    wide, width = [*input.shape], int(came.max()) if came.numel() else 0
    wide[dim] *= width
    table = torch.full(wide, float("-inf"), dtype=src.dtype, device=src.device)
    table = table.scatter(dim, index * width + column, src).unflatten(dim, (-1, width))
    at = dim % input.ndim
    own = input if include_self else input.masked_fill(came > 0, float("-inf"))
    return torch.cat([own.unsqueeze(at + 1), table], at + 1).amax(at + 1)


def _reduced(*args: Any, **kwargs: Any) -> Treatment:
    """Linear where entries that meet are added up; a search where one of them is chosen."""
    how = args[4] if len(args) > 4 else kwargs.get("reduce")
    return Decompose(_scattered) if how in ("amax", "amin") else _SCATTERED.choose(*args, **kwargs)


def _adding(places: tuple[int, str], fine: tuple[Any, ...]) -> Depends:
    """Linear where entries that meet are added up."""

    def choose(*args: Any, **kwargs: Any) -> Treatment:
        position, name = places
        how = args[position] if len(args) > position else kwargs.get(name)
        return PLAIN if how in fine else Refuse(f"has {name}={how!r}")

    return Depends(choose)


_SCATTERED = _adding((4, "reduce"), ("sum", "mean"))
SEQUENCES: dict[str, Treatment] = {
    "prod": Decompose(_prod),
    "cumprod": Decompose(_cumprod),
    "cummax": Decompose(_cummax),
    "cummin": Decompose(_cummin),
    "logcumsumexp": Decompose(_logcumsumexp),
    "quantile": Decompose(_quantile),
    "msort": Decompose(lambda input: torch.sort(input, 0)[0]),
    "cdist": Decompose(_cdist),
    "pdist": Decompose(_pdist),
    "pairwise_distance": Decompose(_pairwise),
    "dist": Decompose(_dist),
    "hypot": Decompose(lambda input, other: vector_norm(torch.stack(torch.broadcast_tensors(input, other)), 2, 0)),
    "xlogy": Decompose(_xlogy),
    "chain_matmul": Decompose(lambda *matrices: functools.reduce(torch.matmul, matrices)),
    "linalg_multi_dot": Decompose(lambda tensors: functools.reduce(torch.matmul, tensors)),
    "linalg_solve_triangular": Depends(_unless_fixed),
    "scatter_reduce": Depends(_reduced),
    "index_reduce": _adding((4, "reduce"), ("mean",)),
}
