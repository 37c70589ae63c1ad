"""What a pass is given of what is the caller's: copies, which the model may write into or add to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from . import tree as trees

DEPTH = 6  # objects within objects in which tensors are looked for; a cache of a transformer has two

_NO_COPY = (copy.Error, TypeError, ValueError, AttributeError, RuntimeError)  # what copying an object raises


def own(value: Any, keep: bool) -> Any:
    """A copy of a tensor, connected to the caller's graph only with `keep`; or of an object that holds tensors.

    Such objects (a cache of keys and values, say) grow as the model runs, and a next pass would read what this one
    added. Layers, functions, what holds no tensor and what cannot be copied (a lock, an open file) are given as they
    are.
    """
    if isinstance(value, Tensor):
        return value.clone() if keep else value.detach().clone()
    copies = {id(t): own(t, keep) for t in _held(value, DEPTH, {})}
    if not copies:
        return value
    try:
        return copy.deepcopy(value, copies)
    except _NO_COPY:
        return value


def _held(value: Any, depth: int, met: dict[int, int]) -> Iterator[Tensor]:
    """The tensors that an object holds; `met`: by id, how deep objects were looked into, which need not be again."""
    if isinstance(value, Tensor):
        yield value
    elif met.get(id(value), 0) < depth and not callable(value):
        met[id(value)] = depth
        entries = trees.children(value)
        parts = list(getattr(value, "__dict__", {}).values()) if entries is None else [part for _, part in entries]
        for part in parts:
            yield from _held(part, depth - 1, met)
