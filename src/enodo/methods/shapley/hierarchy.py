"""`Node`: a hierarchy of features, for values in which groups of features bargain as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game

from .every import lifted, shapley_weights, subsets


@dataclass(frozen=True)
class Node:
    """A group of features and smaller groups; `children` are Nodes and numbers of features."""

    children: tuple[Node | int, ...]

    @staticmethod
    def of(groups: Any, n: int) -> Node:
        """The hierarchy of n features that a user gave as the option `groups`.

        | groups | |
        |---|---|
        | None | neighbours together: the features in order, halved again and again |
        | nested lists | `[[0, 1], [2, [3, 4]]]`: feature numbers, each once |
        | whole numbers (n,) | the group of each feature; a tensor, an array or a flat list |
        | whole numbers (levels, n) | the same, level by level, coarse groups first |
        | floats (n - 1, 4) | a linkage, as `scipy.cluster.hierarchy` makes them |
        """
        if groups is None:
            return _halved(list(range(n)))
        if isinstance(groups, (list, tuple)) and any(isinstance(g, (list, tuple)) for g in groups):
            tree = _nested(groups)
            found = sorted(tree.leaves())
            if found != list(range(n)):
                refuse("groups", f"nested lists of the features {found}", f"each of 0 to {n - 1} once")
            return tree
        try:
            table = np.asarray(groups)
        except ValueError:
            table = np.asarray(None)
        if table.dtype.kind == "f" and table.shape == (n - 1, 4):
            return _linked(table, n)
        if table.dtype.kind not in "iu" or table.ndim not in (1, 2) or table.shape[-1] != n:
            refuse("groups", groups, f"None, nested lists, or whole numbers that group {n} features", kind=BadType)
        return _levelled(np.atleast_2d(table), list(range(n)))

    def leaves(self) -> Iterator[int]:
        """The features below."""
        for child in self.children:
            yield from [child] if isinstance(child, int) else child.leaves()

    def paths(self, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...]]:
        """For each node that has features for children, the nodes from the root to it."""
        here = (*above, self)
        if any(isinstance(child, int) for child in self.children):
            yield here
        for child in self.children:
            if isinstance(child, Node):
                yield from child.paths(here)

    def levels(self, n: int) -> list[Tensor]:
        """For each depth below the root but the last, (n,): the node or feature that each feature is in there."""
        found, layer = [], list(self.children)
        while any(isinstance(child, Node) for child in layer):
            level = torch.zeros(n, dtype=torch.long)
            for number, child in enumerate(layer):
                level[[child] if isinstance(child, int) else list(child.leaves())] = number
            found.append(level)
            layer = [c for child in layer for c in ((child,) if isinstance(child, int) else child.children)]
        return found


def _halved(features: Sequence[int]) -> Node:
    half = len(features) // 2
    parts = [p for p in (features[:half], features[half:]) if p]
    return Node(tuple(p[0] if len(p) == 1 else _halved(p) for p in parts))


def _nested(groups: Any) -> Node:
    children: list[Node | int] = []
    for g in groups:
        if isinstance(g, (list, tuple)):
            children.append(_nested(g))
        elif isinstance(g, bool) or not isinstance(g, (int, np.integer)):
            refuse("groups", g, "a feature number in nested lists", kind=BadType)
        else:
            children.append(int(g))
    return Node(tuple(children))


def _levelled(table: Any, features: list[int]) -> Node:
    """Features grouped by the first row of the table, each group by the rows that follow."""
    if not len(table):
        return Node(tuple(features))
    groups: dict[int, list[int]] = {}
    for f in features:
        groups.setdefault(int(table[0][f]), []).append(f)
    return Node(tuple(g[0] if len(g) == 1 else _levelled(table[1:], g) for g in groups.values()))


def _linked(table: Any, n: int) -> Node:
    made: list[Node | int] = list(range(n))
    for a, b in table[:, :2].astype(int).tolist():
        if not (0 <= a < len(made) and 0 <= b < len(made)):
            refuse("groups", f"a linkage that joins {a} and {b}", f"clusters made before, 0 to {len(made) - 1}")
        made.append(Node((made[a], made[b])))
    root = made[-1]
    if isinstance(root, int) or sorted(root.leaves()) != list(range(n)):
        refuse("groups", "a linkage that leaves features out", f"one that joins all {n}")
    return root


@dataclass(frozen=True)
class Bargain:
    """What the features that are children of one node need to know: coalitions of the parts that they deal with.

    At each node above, the other children come or stay away whole; at the node itself, its own children do.
    """

    parts: Tensor  # (p, n), bool: the features of each part
    sizes: tuple[int, ...]  # how many of the parts belong to each node from the root, the last being the node itself
    features: tuple[tuple[int, int], ...]  # (part, feature) for the children that are features

    @staticmethod
    def at(path: Sequence[Node], n: int) -> Bargain:
        """The Bargain at the end of a path from the root."""
        parts, sizes = [], []
        for node, below in zip(path, [*path[1:], None], strict=True):
            others = [child for child in node.children if child is not below]
            sizes.append(len(others))
            for child in others:
                part = torch.zeros(n, dtype=torch.bool)
                part[[child] if isinstance(child, int) else list(child.leaves())] = True
                parts.append(part)
        first = sum(sizes[:-1])
        own = enumerate(path[-1].children, first)
        return Bargain(torch.stack(parts), tuple(sizes), tuple((i, c) for i, c in own if isinstance(c, int)))

    @property
    def count(self) -> int:
        """How many coalitions there are."""
        return 1 << len(self.parts)

    def values(self, game: Game) -> Tensor:
        """The values of the node's features, (T, B, features)."""
        weights, total = [shapley_weights(s + 1) for s in self.sizes[:-1]], None
        own = shapley_weights(self.sizes[-1])
        member, other = torch.cat([own.new_zeros(1), own]), torch.cat([own, own.new_zeros(1)])
        at = [i for i, _ in self.features]
        for i, j, scores in game.stream(self.count, self._coalitions, empty=True):
            z = subsets(i, j, len(self.parts))
            counts = [part.sum(1) for part in z.split(self.sizes, 1)]
            above = math.prod((w[c] for w, c in zip(weights, counts, strict=False)), start=torch.ones(1))
            mine = z[:, at].to(own.dtype)
            share = mine * (member + other)[counts[-1], None] - other[counts[-1], None]
            share = share * torch.as_tensor(above, dtype=own.dtype).reshape(-1, 1)
            part = torch.einsum("ktb,kn->tbn", lifted(scores), share)
            total = part if total is None else total + part
        if total is None:
            raise AssertionError
        return total

    def _coalitions(self, i: int, j: int) -> Tensor:
        return (subsets(i, j, len(self.parts)).float() @ self.parts.float()) > 0
