"""Tensors with less in them: blurred, levelled."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import refuse


def blurred(t: Tensor, sigma: float) -> Tensor:
    """(B, C, ...) under a Gaussian over all dimensions after the channels; beyond the edge, the edge goes on."""
    _need_places(t, "blurred")
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=t.device, dtype=torch.float64)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma**2), 0)
    out = t.to(torch.float32) if t.dtype in (torch.float16, torch.bfloat16) else t
    for dim in range(2, t.ndim):
        size = t.shape[dim]
        edge = torch.arange(-radius, size + radius, device=t.device).clamp(0, size - 1)
        lines = out.index_select(dim, edge).movedim(dim, -1)
        soft = F.conv1d(lines.reshape(-1, 1, len(edge)), kernel.to(out.dtype).view(1, 1, -1))
        out = soft.reshape(*lines.shape[:-1], size).movedim(-1, dim)
    return out.to(t.dtype)


def levelled(t: Tensor) -> Tensor:
    """(B, C, ...) with each channel's mean at every place."""
    _need_places(t, "levelled")
    return t.mean(tuple(range(2, t.ndim)), keepdim=True).expand_as(t)


def _need_places(t: Tensor, what: str) -> None:
    if t.ndim < 3:
        instead = "Give Absence.mean(data), the mean row of some data."
        refuse("baseline", f"inputs of shape {tuple(t.shape)} to be {what}", "(B, C, ...), with places", instead)
