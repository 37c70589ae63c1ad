"""Do two attributions agree? Rank correlation, shared strongest features, same signs: each for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core.errors import BadType, refuse

from .order import ranks


@dataclass(frozen=True)
class Agreement:
    """How far two attributions of the same rows agree; every field has one entry a row, (B,).

    `correlation` is Spearman's, from -1 to 1, NaN where one of the two is the same everywhere. `overlap` is the share
    of the k features strongest in size that both name; unrelated attributions share `chance` = k / n on average.
    `signs` is the share of the features named by both on whose sign they agree, NaN where they share none.
    """

    correlation: Tensor
    overlap: Tensor
    signs: Tensor
    k: int
    n: int

    @property
    def chance(self) -> float:
        """The overlap of attributions that know nothing of each other."""
        return self.k / self.n


def agreement(a: Any, b: Any, *, k: int | None = None, absolute: bool = False) -> Agreement:
    """How far two attributions agree: Attributions or tensors (B, ...).

    k         how many features count as the strongest; a tenth of them, at least 3, where it is left out
    absolute  compare sizes only, where one of the two has no sign

    Maps (B, C, h, w) that differ in shape are summed over channels and compared at the coarser of their sizes, to which
    the finer is averaged.

    >>> import torch
    >>> from enodo.metrics import agreement
    >>> a, b = torch.tensor([[3.0, -2.0, 1.0, 0.0]]), torch.tensor([[9.0, -4.0, 0.5, 0.6]])
    >>> found = agreement(a, b, k=2)
    >>> found.correlation.item(), found.overlap.item(), found.chance
    (0.8, 1.0, 0.5)
    """
    one, other = _alike(_tensor(a, "a"), _tensor(b, "b"))
    if absolute:
        one, other = one.abs(), other.abs()
    n = one.shape[1]
    k = min(n, max(3, n // 10)) if k is None else k
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n:
        refuse("k", k, f"a whole number from 1 to {n}, the number of features")
    strong, too = strongest(one, k), strongest(other, k)
    both = strong * too
    same = (both * (one.sign() == other.sign())).sum(-1) / both.sum(-1)
    return Agreement(_correlation(ranks(one), ranks(other)), both.sum(-1) / k, same, k, n)


def strongest(scores: Tensor, k: int) -> Tensor:
    """How much each feature belongs to the k strongest in size, (B, n), 0 to 1, adding up to k.

    Features that tie for the last places share them.
    """
    size = scores.detach().double().abs()
    least = size.topk(k, -1).values[..., -1:]
    above, tied = size > least, size == least
    left = k - above.sum(-1, keepdim=True)
    return above + tied * left / tied.sum(-1, keepdim=True)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation along the last dimension; NaN where one side is constant."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def _tensor(value: Any, argument: str) -> Tensor:
    found = getattr(value, "tensor", value)
    if not isinstance(found, Tensor) or found.ndim < 2:
        refuse(argument, value, "an Attribution or a tensor (B, ...), rows first", kind=BadType)
    return found.detach()


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two attributions as (B, n)."""
    if a.shape != b.shape and a.ndim == b.ndim == 4 and len(a) == len(b):
        a, b = a.sum(1, keepdim=True), b.sum(1, keepdim=True)
        size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
        a, b = (F.adaptive_avg_pool2d(t.double(), size) for t in (a, b))
    if a.shape != b.shape:
        refuse("b", f"shape {tuple(b.shape)} beside {tuple(a.shape)}", "two attributions of the same features")
    return a.flatten(1).double(), b.flatten(1).double().to(a.device)


def agreements(attributions: Any, *, k: int | None = None, absolute: bool = False) -> tuple[Tensor, Tensor]:
    """Rank correlation and overlap of each with each, (M, M, B) both, for a sequence of M attributions."""
    given = list(attributions)
    found = [[agreement(a, b, k=k, absolute=absolute) for b in given] for a in given]
    correlation = torch.stack([torch.stack([f.correlation for f in row]) for row in found])
    return correlation, torch.stack([torch.stack([f.overlap for f in row]) for row in found])
