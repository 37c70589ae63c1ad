"""Values within torch.func's transforms (vmap, grad, jvp ...), which stand for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from . import tree as trees
from .threads import Switch

_functorch = torch._C._functorch
_tell: Callable[[bool], None] = _functorch._set_vmap_fallback_warning_enabled  # type: ignore[attr-defined]


def level() -> int:
    """How many transforms are now being done."""
    return _functorch.maybe_current_level() or 0


def is_batched(t: Tensor) -> bool:
    """Whether a tensor is what `torch.vmap` shows: one entry of many."""
    return _functorch.is_batchedtensor(t)


def shown(t: Tensor, dim: int, at: int) -> Tensor:
    """A tensor as the transform `at` a level would show it that batches a dimension: without it, and without a copy."""
    return _functorch._add_batch_dim(t, dim, at)


def bare(t: Tensor) -> Tensor:
    """The tensor that one within transforms stands for: of one that `torch.vmap` shows, with all its entries."""
    while _functorch.is_functorch_wrapped_tensor(t):
        t = _functorch.get_unwrapped(t)
    return t


def lies_last(t: Tensor) -> bool:
    """Whether values (B, C, H, W) lie with channels last."""
    return t.ndim == 4 and t.shape[1] > 1 == t.stride(1) and t.stride(3) == t.shape[1]


def unrepeated(t: Tensor) -> Tensor:
    """A tensor of which the first dimension is one entry repeated, with that entry alone; others as they are."""
    return t[:1] if t.ndim and t.stride(0) == 0 else t


def storage_of(t: Tensor) -> int:
    """The address of a tensor's memory; 0 where it does not say, so that it may share it with any other such."""
    try:
        return t.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return 0


def has_path(values: Any) -> bool:
    """Whether gradients could reach these values but for the transforms they are in."""
    return any(bare(t).requires_grad for _, t in trees.leaves(values) if isinstance(t, Tensor))


@contextmanager
def _untold() -> Iterator[None]:
    _tell(False)
    try:
        yield
    finally:
        _tell(True)


# While any thread is inside, `torch.vmap` does not warn that it does one by one what it cannot batch. Python's filters
# of warnings are no place to say so: a thread that puts back those it found takes away what others have set since.
untold = Switch(_untold)
