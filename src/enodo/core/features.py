"""`Features`: what is switched off together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import tree as trees
from .errors import BadType, refuse
from .given import tensors
from .layout import Layout, numbered

if TYPE_CHECKING:
    from .asked import Asked


@dataclass(frozen=True)
class Features:
    """What perturbation switches off together, as the option `features` of a method.

    | features | each feature is |
    |---|---|
    | None, `Features.each()` | one value (one token of token ids) |
    | a whole number n | one of n blocks of about equal size, in the order of the values |
    | a mask, `Features.groups(mask)` | the values that have one number in the mask |

    A mask is a tensor (array, list) or a structure of them like the value at `wrt`, of whole numbers from 0, in a shape
    that broadcasts to it: rows in front, one for all or one each. Numbers may have gaps and be in any order; the same
    number in several tensors is one feature. Each value gets its feature's attribution.
    """

    name: str
    lay: Callable[[Asked], Layout]

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    @staticmethod
    def of(spec: Any) -> Features:
        """Features from any way to give them."""
        if isinstance(spec, Features):
            return spec
        if spec is None:
            return Features.each()
        if isinstance(spec, int) and not isinstance(spec, bool):
            return Features.blocks(spec)
        if isinstance(spec, (str, bool, float)):
            refuse("features", spec, "None, a whole number of blocks, a mask, or Features", kind=BadType)
        return Features.groups(spec)

    @staticmethod
    def each() -> Features:
        """Every value by itself."""
        return Features("each value", lambda q: _counted(q, None))

    @staticmethod
    def blocks(n: int) -> Features:
        """n blocks of neighbouring values, as equal in size as can be; at most as many as there are values."""
        if n < 1:
            refuse("features", n, "at least 1 block")
        return Features(f"{n} blocks", lambda q: _counted(q, n))

    @staticmethod
    def groups(mask: Any) -> Features:
        """The values that have one number in a mask."""
        return Features("groups of a mask", lambda q: _grouped(q, mask))


def _counted(q: Asked, n: int | None) -> Layout:
    """Values numbered in order, or dealt to n blocks."""
    shapes = _units(q)
    sizes = [math.prod(s) for s in shapes]
    total = sum(sizes)
    index = torch.arange(total, device=q.x.leaves[0].device)
    if n is not None and n < total:
        index = index * n // total
    count = total if n is None else min(n, total)
    owners = [part.view(1, *s) for part, s in zip(index.split(sizes), shapes, strict=True)]
    return _laid(q, Layout(count, tuple(owners), each=count == total and len(owners) == 1 and not q.sight.lookups))


def _grouped(q: Asked, mask: Any) -> Layout:
    """Values by the numbers of a mask."""
    ids = [_checked(q, *each) for each in _beside(q, mask)]
    return _laid(q, numbered(ids, q.rows))


def _units(q: Asked) -> list[tuple[int, ...]]:
    """The shapes, within a row, of what features are made of: tensors of the values, token ids for vectors."""
    x = q.x.leaves
    if not (q.sight.lookups and q.wrt.per_token):
        return [tuple(t.shape[1:]) for t in x]
    ids = [tuple(trees.get(q.call.inputs, path).shape[1:]) for path in q.wrt.ids]
    return [tuple(t.shape[1:]) for t in x[: len(x) - len(q.sight.lookups)]] + ids


def _laid(q: Asked, layout: Layout) -> Layout:
    """The features of token ids as those of the vectors that they look up."""
    lookups = q.sight.lookups if q.wrt.per_token else []
    if not lookups:
        return layout
    first = len(q.x) - len(lookups)
    owners = list(layout.owners[:first])
    for found, vectors in zip(lookups, q.x.leaves[first:], strict=True):
        owner = layout.owners[first + found.leaf].flatten(1)
        at = found.positions.to(owner.device)[: q.rows]
        owner = owner.expand(len(at), -1).gather(1, at.clamp(min=0).flatten(1)).view(at.shape)
        owner = torch.where(at < 0, layout.n, owner)
        owners.append(owner.view(*owner.shape, *[1] * (vectors.ndim - owner.ndim)))
    return Layout(layout.n, tuple(owners), layout.counts, open=True)


def _beside(q: Asked, mask: Any) -> Iterator[tuple[Any, Tensor, str]]:
    """(mask, what it is for, name of the mask) for each of the units."""
    paths = [(i, path) for i, form in enumerate(q.sight.forms) for path in form.paths]
    like = list(q.x.leaves[: len(paths)])
    if q.sight.lookups and q.wrt.per_token:
        paths += [(0, path) for path in q.wrt.ids]
        like += [trees.get(q.call.inputs, path) for path in q.wrt.ids]
    mask = mask if isinstance(mask, Tensor) else tensors(mask, "features")
    if len(like) == 1 and isinstance(mask, Tensor):
        yield mask, like[0], "features"
        return
    for (i, path), t in zip(paths, like, strict=True):
        part = mask[i] if q.wrt.several and isinstance(mask, (tuple, list)) and i < len(mask) else mask
        try:
            found = trees.get(part, path)
        except (KeyError, IndexError, AttributeError, TypeError):
            expected = f"masks in the structure of the value at wrt, which has an entry {trees.spell(path)}"
            refuse("features", mask, expected)
        yield found, t, "features" + trees.spell(path)


def _checked(q: Asked, mask: Any, t: Tensor, name: str) -> Tensor:
    """A mask as a tensor (1 or B, ...) with as many dimensions as what it is for."""
    if not isinstance(mask, Tensor):
        refuse(name, mask, "a mask of whole numbers", kind=BadType)
    if mask.is_floating_point() or mask.is_complex() or mask.dtype == torch.bool:
        refuse(name, mask, "whole numbers that name features", "Write mask.long() if they are.", BadType)
    if mask.numel() and int(mask.min()) < 0:
        refuse(name, f"a mask with {int(mask.min())}", "numbers from 0")
    wanted = f"a shape that broadcasts to {tuple(t.shape)}, with one or all of the rows in front"
    ids = mask.to(t.device, torch.long)
    ids = ids.reshape(*[1] * (t.ndim - ids.ndim), *ids.shape)
    if ids.ndim != t.ndim or any(m not in (1, s) for m, s in zip(ids.shape[1:], t.shape[1:], strict=True)):
        refuse(name, mask, wanted)
    if len(ids) not in (1, q.batch):
        refuse(name, mask, wanted)
    return ids if len(ids) == 1 else ids[[key[0] for key in q.keys]]
