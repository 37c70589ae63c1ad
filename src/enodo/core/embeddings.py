"""Embedding lookups: a bag opened so that its tokens are seen, and ids that an embedding does not have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import BadArgument, refuse


def open_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """`embedding_bag` of bags (B, n) as a lookup and a reduction, so that each token is seen."""
    if input.ndim != 2 or offsets is not None:
        refuse(
            "inputs",
            "token ids in one dimension with offsets",
            "bags of equal length, ids of shape (B, n)",
            "Pad them.",
        )
    vectors = F.embedding(input, weight, None, max_norm, norm_type)  # (B, n, D)
    real = torch.ones_like(input, dtype=torch.bool) if padding_idx is None else input != padding_idx
    if mode == "max":
        return vectors.masked_fill(~real[..., None], float("-inf")).amax(1)
    weights = real.to(vectors.dtype) if per_sample_weights is None else per_sample_weights * real
    total = (vectors * weights[..., None]).sum(1)
    return total if mode == "sum" else total / real.sum(1, keepdim=True).clamp(min=1)


def refuse_ids(args: Any, kwargs: Any, error: IndexError) -> None:
    """Say which token ids an embedding does not have."""
    found = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
    ids = next((t for t in found if not t.is_floating_point() and t.numel()), None)
    table = next((t for t in found if t.is_floating_point()), None)
    if ids is not None and table is not None:
        given = f"token ids from {ids.min()} to {ids.max()} for an embedding of {len(table)}"
        raise BadArgument("inputs or baseline", given, f"ids from 0 to {len(table) - 1}") from error
