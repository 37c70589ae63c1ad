"""Maxima and minima under the rescale rule."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.tables import Decompose, Depends, Op, Pull, Refuse, Treatment

from .linear import only_first


def selected(op: Op) -> Pull:
    """The larger of y and y0 names one entry, which carries the change: max x - max x0 at the place of the larger one.

    There |x - x0| >= |y - y0| with the same sign, so that the multiplier lies in [0, 1]. The last dimensions of x are
    pooled over where there are several indices a row; else `dim` is.
    """
    dims = int(op.name[op.name.index("pool") + 4]) if "pool" in op.name else 0
    at = op.at
    if at is None:
        raise ValueError(f"the rule for {op.name!r} compares with a baseline: give `at`")
    dim = -1 if dims else op.call.get(1, "dim", 0)
    index, first = (_flat(i, dims, dim, op) for i in (op.aux[0], at.aux[0]))
    x, x0 = (_flat(t, dims, dim) for t in (op.xs[0], at.xs[0]))
    y, y0 = (_flat(t, dims, dim, op) for t in (op.y, at.y))
    pick = torch.where(y >= y0, index, first)
    dx = x.gather(-1, pick) - x0.gather(-1, pick)
    slope = torch.where(dx == 0, 1, (y - y0) / torch.where(dx == 0, 1, dx))
    shape, flat = op.xs[0].shape, x.shape

    def pull(gy: Tensor) -> list[Tensor | None]:
        g = _flat(gy, dims, dim, op) * slope
        found = g.new_zeros(flat).scatter_add(-1, pick, g)
        return [found.reshape(shape) if dims else found.movedim(-1, dim)]

    return pull


def _flat(t: Tensor, dims: int, dim: int, op: Op | None = None) -> Tensor:
    """The dimension that is searched, or a result's place in it (with `op`), as the last one."""
    if dims:
        return t.flatten(-dims)
    if op is not None and not op.call.get(2, "keepdim", False):
        return t.unsqueeze(-1)
    return t.movedim(dim, -1)


def crossed(op: Op) -> Pull:
    """The k-th smallest of n, that goes from y0 to y: all that were on one side and are on the other share alike.

    If y > y0, those with x0 <= y0 and x >= y; there is one, as fewer than k lie below y where k did below or at y0. As
    |x - x0| >= |y - y0|, multipliers lie in [0, 1]. For the largest this is `selected`.
    """
    at = op.at
    if at is None:
        raise ValueError(f"the rule for {op.name!r} compares with a baseline: give `at`")
    place = 1 + (op.name in ("topk", "kthvalue"))
    dim, whole = op.call.get(place, "dim", -1), op.name in ("sort", "topk")

    def last(t: Tensor) -> Tensor:
        return t.movedim(dim, -1) if whole or op.call.get(place + 1, "keepdim", False) else t.unsqueeze(-1)

    x, x0 = (t.movedim(dim, -1)[..., None, :] for t in (op.xs[0], at.xs[0]))  # (..., 1, n)
    y, y0, index = (last(t)[..., None] for t in (op.y, at.y, op.aux[0]))  # (..., k, 1)
    up = (y > y0) & (x0 <= y0) & (x >= y)
    over = up | ((y < y0) & (x0 >= y0) & (x <= y))
    dx = torch.where(over, x - x0, 1)
    share = torch.where(over, (y - y0) / dx, 0) / over.sum(-1, keepdim=True).clamp(min=1)
    still = torch.zeros_like(share).scatter(-1, index, 1)  # what has not moved is where it is, unless others stand in
    slope = torch.where(y == y0, still * (x == x0), share)

    def pull(gy: Tensor) -> list[Tensor | None]:
        return [(last(gy)[..., None] * slope).sum(-2).movedim(-1, dim)]

    return pull


def _between(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """A clamp whose bounds are values of the model."""
    low, high = (t if t is None else torch.as_tensor(t, dtype=input.dtype, device=input.device) for t in (min, max))
    x = input if low is None else torch.maximum(input, low)
    return x if high is None else torch.minimum(x, high)


def _below(input: Tensor, max: Any) -> Tensor:
    return _between(input, None, max)


def clamps(usual: Treatment) -> dict[str, Treatment]:
    """The clamps, with `usual` where the bounds are constants."""
    above = only_first(Decompose(_between), usual)
    return {"clamp": above, "clamp_min": above, "clamp_max": only_first(Decompose(_below), usual)}


def larger(op: Op) -> Pull:
    """maximum(a, b) = b + relu(a - b), minimum(a, b) = a - relu(a - b), with the secant of the ReLU."""
    at = op.at
    if at is None or len(op.xs) != 2:
        raise ValueError(f"the rule for {op.name!r} compares two tensors with a baseline")
    d, d0 = op.xs[0] - op.xs[1], at.xs[0] - at.xs[1]
    step = d - d0
    on = torch.where(step == 0, (d > 0).to(d.dtype), (d.relu() - d0.relu()) / torch.where(step == 0, 1, step))
    a, b = (1 - on, on) if op.name in ("minimum", "fmin", "min") else (on, 1 - on)
    shapes = [x.shape for x in op.xs]
    return lambda gy: [(gy * a).sum_to_size(shapes[0]), (gy * b).sum_to_size(shapes[1])]


def _max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Treatment:
    if isinstance(dim, Tensor) or other is not None:
        return larger
    return selected if dim is not None else Decompose(lambda x: x.flatten().max(0)[0])


def _min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Treatment:
    if isinstance(dim, Tensor) or other is not None:
        return larger
    return Decompose(_min_along if dim is not None else lambda x: -(-x).flatten().max(0)[0])


def _min_along(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    values, indices = torch.max(-x, dim, keepdim)
    return torch.return_types.min((-values, indices))


def _amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    dims = sorted(d % input.ndim for d in ([dim] if isinstance(dim, int) else dim or range(input.ndim)))
    kept = [1 if d in dims else n for d, n in enumerate(input.shape)]
    last = input.movedim(dims, list(range(-len(dims), 0))).flatten(-len(dims))
    y: Tensor = torch.max(last, -1)[0]
    return y.reshape(kept) if keepdim else y


def _pool(name: str) -> Decompose:
    search = getattr(F, f"{name}_with_indices")

    def run(input: Tensor, *args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        found = search(input, *args, **kwargs)
        return found if return_indices else found[0]

    return Decompose(run)


_POOLS = [f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)]


def _amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    return -_amax(-input, dim, keepdim)


def _aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    where = () if dim is None else dim
    return torch.return_types.aminmax((_amin(input, where, keepdim), _amax(input, where, keepdim)))


def _median(input: Any, dim: Any = None, keepdim: bool = False) -> Treatment:
    return crossed if dim is not None else Decompose(lambda x: x.flatten().median(0)[0])


EXTREMES: dict[str, Treatment] = {
    **{name: _pool(name) for name in _POOLS},
    **{f"{name}_with_indices": selected for name in _POOLS},
    "max": Depends(_max),
    "min": Depends(_min),
    "amax": Decompose(_amax),
    "amin": Decompose(_amin),
    "aminmax": Decompose(_aminmax),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), larger),
    **dict.fromkeys(("sort", "topk", "kthvalue"), crossed),
    "median": Depends(_median),
    "mode": Refuse("names the value met most often, which may be another one at the baseline"),
}
