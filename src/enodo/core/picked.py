"""What targets pick from an output y, (B, ...): (B,), or (T, B) for several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import refuse


def indexed(y: Tensor, index: Any, tiles: int) -> Tensor:
    """An entry of every row: the same (None, a tuple), or each its own (a tensor)."""
    if index is None:
        if y.ndim and y.numel() != len(y):
            given = f"None with an output of shape {tuple(y.shape)}"
            instead = 'Give target=0, target="predicted" or a callable.'
            refuse("target", given, "a target that selects one score a row", instead)
        return y
    if isinstance(index, tuple):
        return _box(y, index) if any(isinstance(i, slice) for i in index) else _column(y, index)
    index = index.to(y.device)
    _check_depth(y, index.shape[1])
    for dim, column in enumerate(index.unbind(1), 1):
        for end in (column.min(), column.max()):
            _check_bounds(y, int(end), dim)
    index = index.repeat(tiles, 1)
    if len(y) != len(index):  # one row would be taken for each of them
        refuse("target", f"an output of shape {tuple(y.shape)}", f"one with {len(index)} rows, as the pass has")
    entries = (torch.arange(len(y), device=y.device), *index.unbind(1))
    picked = y[entries]
    if picked.ndim > 1 and picked.numel() != len(picked):
        given = f"{index.shape[1]} indices a row with an output of shape {tuple(y.shape)}"
        refuse("target", given, f"{y.ndim - 1} indices a row", "Give a list of tuples.")
    return picked


def _column(y: Tensor, index: tuple[int, ...]) -> Tensor:
    """The same entry of every row."""
    picked = y
    try:
        for i in index:
            picked = picked.select(1, i)
    except (IndexError, ValueError, RuntimeError):  # also of a number of more than 64 bits
        _check_depth(y, len(index))
        for dim, i in enumerate(index, 1):
            _check_bounds(y, i, dim)
        raise
    if picked.ndim > 1 and picked.numel() != len(picked):
        refuse(
            "target",
            f"{index}, which leaves shape {tuple(picked.shape)}",
            f"an index for each of the {y.ndim - 1} dimensions after the batch",
            "Add indices, or slices for a box.",
        )
    return picked


def _box(y: Tensor, index: tuple[Any, ...]) -> Tensor:
    """The sum over a box of entries, the same in every row."""
    _check_depth(y, len(index))
    for dim, i in enumerate(index, 1):
        if not isinstance(i, slice):
            _check_bounds(y, i, dim)
    place = (slice(None), *index)
    picked = y[place]
    if len(y) and not picked.numel():
        refuse("target", f"{index}, a box without places in an output of shape {tuple(y.shape)}", "one with a place")
    return picked.flatten(1).sum(1) if picked.ndim > 1 else picked


def _check_depth(y: Tensor, depth: int) -> None:
    """Refuse more indices than there are dimensions after the batch."""
    if y.ndim - 1 < depth:
        given = f"an index into {depth} dimensions with an output of shape {tuple(y.shape)}"
        most = f"at most {max(y.ndim - 1, 0)} after the batch"
        instead = (
            "Leave target=None for a model with one score a row. Inputs that are a single row are given as x[None]."
        )
        refuse("target", given, most, instead)


def _check_bounds(y: Tensor, i: int, dim: int) -> None:
    """Refuse an index outside of its dimension."""
    size = y.shape[dim]
    if not -size <= i < size:
        given = f"index {i} for dimension {dim} of an output of shape {tuple(y.shape)}"
        refuse("target", given, f"an index from 0 to {size - 1}")


def columns(y: Tensor) -> Tensor:
    """Every entry, (T, B)."""
    if y.ndim > 2:
        given = f'"all" with an output of shape {tuple(y.shape)}'
        refuse("target", given, "an output of shape (B, T)", "Give Each([...]) or a callable.")
    return y.reshape(len(y), -1).T


def largest(y: Tensor) -> Tensor:
    """The largest entry of every row."""
    if y.ndim == 1 or (y.ndim > 1 and y.numel() == len(y)):
        return y
    if y.ndim != 2:
        refuse(
            "target",
            f'"predicted" with an output of shape {tuple(y.shape)}',
            "class scores of shape (B, C)",
            "Give a tuple, a mask or a callable for dense outputs.",
        )
    return y.amax(1)
