"""Tokens that are taken away together, and how what they get is shared out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enodo.text.reading import Reading


def grouped(readings: Sequence[Reading], level: str, keep: bool) -> list[list[Any]]:
    """For each token the name of its unit; None, where they are to be kept, for tokens that the tokenizer added."""
    rows = []
    for reading in readings:
        owners: list[Any] = list(reading.owners(level))
        rows.append([o if o is not None or keep else f"added {i}" for i, o in enumerate(owners)])
    return rows


def shares(groups: Sequence[Sequence[Any]], real: Tensor) -> Tensor:
    """What each token has of its unit's value, (B, T): one by the number of the unit's tokens."""
    out = torch.zeros(real.shape, dtype=torch.float64)
    for row, names in zip(out, groups, strict=True):
        sizes = Counter(names)
        row[: len(names)] = torch.tensor([1 / sizes[name] for name in names], dtype=out.dtype)
    return out
