"""Nested containers (pytrees): taken apart into leaves with paths, and put together again with other leaves.

Understood are tuple, named tuple, list, mapping (dict, BatchEncoding, ModelOutput ...) and dataclass; anything else is
a leaf. A container is rebuilt as a shallow copy of the original, so its type and further attributes survive.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

Path = tuple[Any, ...]


def children(tree: Any) -> list[tuple[Any, Any]] | None:
    """(key, child) for each entry of a container, or None for a leaf."""
    if isinstance(tree, (tuple, list)):
        return list(enumerate(tree))
    if isinstance(tree, Tensor):
        return None
    if isinstance(tree, Mapping):
        return list(tree.items())
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [(f.name, getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    return None


def rebuild(tree: Any, new: list[Any]) -> Any:
    """A container like `tree` whose entries are `new`, in the order of `children`."""
    if isinstance(tree, tuple):
        return type(tree)(*new) if hasattr(tree, "_fields") else type(tree)(new)
    if isinstance(tree, list):
        return type(tree)(new)
    out = copy.copy(tree)
    for (key, _), value in zip(children(tree) or (), new, strict=True):
        if isinstance(tree, Mapping):
            out[key] = value
        else:
            object.__setattr__(out, key, value)  # a frozen dataclass too
    return out


def map_tree(fn: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`fn` at every leaf of `tree`; `others` are containers of the same shape, read along.

    A container in which nothing changes is given back itself.
    """
    entries = None if isinstance(tree, Tensor) else children(tree)
    if entries is None:
        return fn(tree, *others)
    if not entries:
        return tree
    beside = [[get(o, (key,)) for o in others] for key, _ in entries]
    new = [map_tree(fn, child, *o) for (_, child), o in zip(entries, beside, strict=True)]
    return tree if all(a is b for a, (_, b) in zip(new, entries, strict=True)) else rebuild(tree, new)


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, leaf) for every leaf, in order."""
    entries = None if isinstance(tree, Tensor) else children(tree)
    if entries is None:
        yield path, tree
    else:
        for key, child in entries:
            yield from leaves(child, (*path, key))


def get(tree: Any, path: Path) -> Any:
    """The subtree at `path`: keys of mappings, positions of sequences, fields of dataclasses."""
    for key in path:
        plain = isinstance(tree, (Mapping, tuple, list))
        tree = (
            tree[key]
            if plain and not (isinstance(key, str) and isinstance(tree, (tuple, list)))
            else getattr(tree, key)
        )
    return tree


def put(tree: Any, path: Path, new: Any) -> Any:
    """A copy of `tree` with the subtree at `path` replaced."""
    if not path:
        return new
    entries = children(tree) or []
    return rebuild(tree, [put(child, path[1:], new) if key == path[0] else child for key, child in entries])


def spell(path: Path) -> str:
    """`path` as a reader would write it: "['mask'][0]"."""
    return "".join(f"[{key!r}]" for key in path)
