"""`Features`: what is switched off together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import segments
from . import tree as trees
from .beside import beside, cut
from .errors import BadType, refuse
from .layout import NOBODY, Layout, numbered

if TYPE_CHECKING:
    from .asked import Asked

SEGMENTERS = ("slic", "quickshift", "felzenszwalb")


@dataclass(frozen=True)
class Features:
    """What perturbation switches off together, as the option `features` of a method.

    | features | each feature is |
    |---|---|
    | None, `Features.each()` | one value (one token of token ids) |
    | a whole number n | one of n blocks of about equal size, in the order of the values |
    | a mask, `Features.groups(mask)` | the values that have one number in the mask |
    | `Features.windows(shape, strides)` | a box slid over the values; boxes may overlap |
    | `Features.grid(size)` | a patch of places, of all channels, of (B, C, ...) |
    | `Features.superpixels(method, **options)` | a segment of each picture (B, 3, H, W), found by scikit-image |
    | `Features.channels()` | a channel of (B, C, ...) |
    | `Features.stretches(n)`, `.stretches(length=...)` | a stretch of time: of the last dimension, or of `dim` |
    | `Features.columns(groups)` | a group of columns (all those of one category), or a column in none of them |
    | `Features.tokens(groups)` | a word, sentence or other group of tokens |

    A mask is a tensor (array, list) or a structure of them like the value at `wrt`, of whole numbers, in a shape that
    broadcasts to it: rows in front, one for all or one each. Numbers are names and no more, negative ones too; the same
    number in several tensors is one feature. Each value gets its feature's attribution; under several windows, the mean
    of theirs.
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

    @staticmethod
    def windows(shape: Any, strides: Any = None) -> Features:
        """Boxes of a shape, one after the other at strides of 1 or as given, along each dimension but the rows.

        `shape` has a number for each dimension, or for the last ones, where boxes span the others; `strides` also one
        for all. Where there are several tensors, there may be a tuple of shapes, and of strides, one for each.
        """
        return Features(f"windows of {shape}", lambda q: segments.windows(q, shape, strides))

    @staticmethod
    def grid(size: int | Sequence[int]) -> Features:
        """Patches of `size` places, or of a size in each dimension after the channels."""
        sizes = _whole("size", [size] if isinstance(size, int) else size)
        return Features(f"grid of {size}", lambda q: segments.by_place(q, lambda t: segments.grid(t, sizes), "grid", 3))

    @staticmethod
    def superpixels(method: str = "slic", **options: Any) -> Features:
        """Segments by `skimage.segmentation`: "slic", "quickshift" or "felzenszwalb", with its options."""
        if method not in SEGMENTERS:
            refuse("method", repr(method), " or ".join(map(repr, SEGMENTERS)))
        return Features(f"superpixels by {method}", lambda q: segments.superpixels(q, method, options))

    @staticmethod
    def channels() -> Features:
        """Each channel, of every tensor."""
        return Features("channels", lambda q: segments.by_place(q, segments.channels, "channels", 2))

    @staticmethod
    def stretches(n: int | None = None, length: int | None = None, dim: int = -1) -> Features:
        """n stretches as equal as can be, or stretches of a length, of the dimension `dim`; all else together."""
        if (n is None) == (length is None):
            refuse("n and length", f"{n} and {length}", "one of the two")
        (size,) = _whole("n" if n is not None else "length", [n if n is not None else length])
        number = partial(segments.stretches, n=n and size, length=length and size, dim=dim)
        return Features(f"stretches ({size})", lambda q: segments.by_place(q, number, "stretches", 2))

    @staticmethod
    def columns(groups: Sequence[Sequence[int]]) -> Features:
        """Columns (of the last dimension) that belong together, each group by the columns' numbers."""
        number = partial(segments.columns, groups=groups)
        return Features("columns", lambda q: segments.by_place(q, number, "columns", 2))

    @staticmethod
    def tokens(groups: Sequence[Any]) -> Features:
        """Tokens (B, L, ...) by the name of their group, a list for all rows alike or one a row.

        Tokens named None are never absent; a row may have fewer names than tokens (padding). Tokenizers give such
        lists: `encoding.word_ids(row)`, or `enodo.text` for words and sentences.
        """
        return Features("groups of tokens", lambda q: segments.tokens(q, groups))


def _whole(name: str, sizes: Any) -> list[int]:
    """Sizes, which are whole numbers from 1."""
    for size in sizes if isinstance(sizes, (list, tuple)) else [sizes]:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            refuse(name, size, "a whole number from 1", kind=BadType)
    return list(sizes)


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
    ids = [_checked(q, *each) for each in beside(q, mask, "features", _of_tokens(q))]
    return _laid(q, numbered(ids, q.rows))


def _of_tokens(q: Asked) -> bool:
    """Whether looked-up vectors are explained by the token."""
    return bool(q.sight.lookups) and q.wrt.per_token


def _units(q: Asked) -> list[tuple[int, ...]]:
    """The shapes, within a row, of what features are made of: tensors of the values, token ids for vectors."""
    x = q.x.leaves
    if not _of_tokens(q):
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
    ids = [owner.flatten(1) for owner in layout.owners[first:]]
    rows = max(map(len, ids))
    tokens = torch.cat([owner.expand(rows, -1) for owner in ids], 1)
    for found, vectors in zip(lookups, q.x.leaves[first:], strict=True):
        if found.makers is not None:
            given = "token ids, some of which the model looks up put together"
            refuse("inputs", given, "ids that are looked up one by one", "Ask at the vectors: wrt=EMBEDDING.")
        at = found.positions.to(tokens.device)[: q.rows]
        owner = tokens.expand(len(at), -1).gather(1, at.clamp(min=0).flatten(1)).view(at.shape)
        owner = torch.where(at < 0, layout.n, owner)
        owners.append(owner.view(*owner.shape, *[1] * (vectors.ndim - owner.ndim)))
    return Layout(layout.n, tuple(owners), layout.counts, open=True)


def _checked(q: Asked, mask: Any, t: Tensor, name: str) -> Tensor:
    """A mask as a tensor (1 or B, ...) with as many dimensions as what it is for."""
    if not isinstance(mask, Tensor):
        refuse(name, mask, "a mask of whole numbers", kind=BadType)
    if mask.is_floating_point() or mask.is_complex() or mask.dtype == torch.bool:
        refuse(name, mask, "whole numbers that name features", "Write mask.long() if they are.", BadType)
    if mask.numel() and int(mask.min()) == NOBODY:
        refuse(name, f"a mask with {NOBODY}", "any other number")
    return cut(q, mask.to(t.device, torch.long), t, name)
