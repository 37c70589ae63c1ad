"""Features found from the shapes and contents of values: windows, grids, superpixels, channels, columns, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .errors import BadType, refuse
from .layout import NOBODY, Layout, Windows, numbered
from .values import is_continuous

if TYPE_CHECKING:
    from .asked import Asked


def by_place(q: Asked, number: Callable[[Tensor], Tensor], what: str, least: int) -> Layout:
    """Each tensor numbered by itself: `number` of a value gives its features' numbers, (1 or B, ...), from 0."""
    ids, first = [], 0
    for t in q.x.leaves:
        if t.ndim < least:
            refuse("features", f"{what} of values of shape {tuple(t.shape)}", f"at least {least} dimensions")
        found = number(t)
        ids.append(found + first)
        first += int(found.max()) + 1
    return numbered(ids, q.rows)


def grid(t: Tensor, size: Sequence[int]) -> Tensor:
    """Patches of the dimensions after the channels (B, C, ...)."""
    sizes = list(size) * (t.ndim - 2) if len(size) == 1 else list(size)
    if len(sizes) != t.ndim - 2:
        refuse("size", tuple(size), f"one size, or one for each of {t.ndim - 2} dimensions")
    index = torch.zeros((1, 1, *[1] * len(sizes)), dtype=torch.long, device=t.device)
    for d, patch in enumerate(sizes):
        total = t.shape[d + 2]
        along = torch.arange(total, device=t.device) // patch
        index = index * (-(-total // patch)) + along.view(-1, *[1] * (len(sizes) - d - 1))
    return index


def channels(t: Tensor) -> Tensor:
    """The first dimension after the rows."""
    return torch.arange(t.shape[1], device=t.device).view(1, -1, *[1] * (t.ndim - 2))


def stretches(t: Tensor, n: int | None, length: int | None, dim: int) -> Tensor:
    """n stretches of a dimension as equal as can be, or stretches of a length."""
    if not -t.ndim < dim < t.ndim or dim == 0:
        refuse("dim", dim, f"a dimension after the rows of values of shape {tuple(t.shape)}")
    size = t.shape[dim]
    place = torch.arange(size, device=t.device)
    index = place // length if length else place * min(n or 1, size) // size
    return index.view([size if d == dim % t.ndim else 1 for d in range(t.ndim)])


def columns(t: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Columns of groups together, the others each by itself."""
    index = torch.arange(t.shape[-1])
    seen: set[int] = set()
    for group in groups:
        for column in group:
            if not 0 <= column < len(index):
                refuse("groups", f"column {column}", f"columns from 0 to {len(index) - 1}")
            if column in seen:
                refuse("groups", f"column {column} twice", "groups that share no column")
            seen.add(column)
        index[list(group)] = min(group)
    return index.to(t.device).view(*[1] * (t.ndim - 1), -1)


def tokens(q: Asked, groups: Sequence[Any]) -> Layout:
    """Groups of tokens, one list for all rows or one a row; None belongs to no feature."""
    leaves = q.x.leaves
    if len(leaves) != 1 or leaves[0].ndim < 2:
        instead = 'Name one: wrt=INPUT["input_ids"], or a layer.'
        refuse("features", f"groups of tokens for {len(leaves)} tensors", "one tensor (B, L, ...)", instead)
    t = leaves[0]
    several = bool(groups) and all(isinstance(g, (list, tuple)) for g in groups)
    rows = [list(g) for g in groups] if several else [list(groups)]
    if len(rows) not in (1, q.batch.rows):
        refuse("groups", f"groups for {len(rows)} rows", f"one list, or one for each of the {q.batch.rows} rows")
    names: dict[Any, int] = {}
    length = t.shape[1]
    table = torch.full((len(rows), length), NOBODY)
    for row, given in zip(table, rows, strict=True):
        if len(given) > length or (len(given) < length and len(rows) == 1):
            refuse("groups", f"groups of {len(given)} tokens", f"one for each of {length} tokens")
        row[: len(given)] = torch.tensor([NOBODY if g is None else names.setdefault(g, len(names)) for g in given])
    table = table if len(rows) == 1 else table[[key[0] for key in q.keys]]
    return numbered([table.to(t.device).view(*table.shape, *[1] * (t.ndim - 2))], q.rows)


def superpixels(q: Asked, method: str, options: dict[str, Any]) -> Layout:
    """Segments of each picture (B, C, H, W), found by scikit-image in the values scaled to [0, 1]."""
    try:
        from skimage import segmentation
    except ImportError:
        instead = "Features.superpixels needs scikit-image: pip install 'enodo[superpixels]'"
        raise ImportError(instead) from None

    def number(t: Tensor) -> Tensor:
        if t.ndim != 4 or not is_continuous(t):
            refuse("features", f"superpixels of values of shape {tuple(t.shape)}", "pictures, (B, C, H, W)")
        found = []
        for picture in t.detach().to("cpu", torch.float64):
            low, high = picture.min(), picture.max()
            plain = ((picture - low) / (high - low).clamp(min=1e-12)).permute(1, 2, 0).numpy()
            coloured: dict[str, Any] = {"channel_axis": -1}
            if method != "felzenszwalb" and plain.shape[-1] != 3:
                coloured["convert2lab"] = False
            labels = getattr(segmentation, method)(plain, **(coloured | options))
            found.append(torch.from_numpy(labels).long())
        index = torch.stack(found)[:, None]
        return (index - index.amin()).to(t.device)

    return by_place(q, number, "superpixels", 4)


def windows(q: Asked, shape: Any, strides: Any) -> Layout:
    """Boxes slid over each tensor; without a shape, of about a quarter of its places, by half a box."""
    leaves = q.x.leaves
    if shape is None:
        sizes = [tuple(t.shape[1:]) for t in leaves]
        shapes: list[Any] = [
            tuple(-(-s // 4) if d or len(size) < 2 else s for d, s in enumerate(size)) for size in sizes
        ]
        strides = [tuple(max(1, w // 2) for w in box) for box in shapes] if strides is None else strides
    else:
        shapes = _for_each(shape, leaves, "shape")
    steps = _for_each(1 if strides is None else strides, leaves, "strides")
    found = [_slid(*each) for each in zip(leaves, shapes, steps, strict=True)]
    folded, boxes = (tuple(side) for side in zip(*found, strict=True))
    return Windows(sum(len(start) for start, _ in boxes), (), boxes=boxes, shapes=folded)


def _slid(t: Tensor, shape: Any, strides: Any) -> tuple[tuple[int, ...], tuple[Tensor, Tensor]]:
    """The dimensions that a box is slid over, 1 where it covers them whole, and the boxes: first and last + 1 place."""
    size = tuple(t.shape[1:])
    window = _padded(shape, size, "shape", size)
    step = _padded(strides, size, "strides", window)
    _check_window(window, step, size)
    folded = tuple(s if w < s else 1 for w, s in zip(window, size, strict=True))
    starts = [
        torch.arange(-(-(s - w) // by) + 1) * by if w < s else torch.zeros(1, dtype=torch.long)
        for s, w, by in zip(size, window, step, strict=True)
    ]
    start = torch.stack(torch.meshgrid(*starts, indexing="ij"), -1) if starts else torch.zeros(1, 0, dtype=torch.long)
    start = start.flatten(0, -2).to(t.device)
    wide = torch.tensor([min(w, f) for w, f in zip(window, folded, strict=True)], dtype=torch.long, device=t.device)
    return folded, (start, torch.minimum(start + wide, torch.tensor(folded, dtype=torch.long, device=t.device)))


def _for_each(given: Any, leaves: Sequence[Tensor], name: str) -> list[Any]:
    """One for each tensor, of one for all or of a tuple of them."""
    nested = isinstance(given, (tuple, list)) and any(isinstance(g, (tuple, list)) for g in given)
    if not nested:
        several = isinstance(given, (tuple, list)) and name == "strides" and len(leaves) > 1
        if several and len(given) == len(leaves):
            return list(given)
        return [given] * len(leaves)
    if len(given) != len(leaves):
        refuse(name, given, f"one for each of {len(leaves)} tensors")
    return list(given)


def _padded(given: Any, size: tuple[int, ...], name: str, whole: tuple[int, ...]) -> tuple[int, ...]:
    """A number a dimension: one number is for all dimensions, fewer are for the last ones."""
    each = [given] * len(size) if isinstance(given, int) else list(given) if isinstance(given, (tuple, list)) else None
    if each is None or any(isinstance(g, bool) or not isinstance(g, int) for g in each):
        refuse(name, given, "a whole number or a tuple of them", kind=BadType)
    if len(each) > len(size):
        refuse(name, given, f"at most {len(size)} numbers, for values of shape {size}")
    return (*whole[: len(size) - len(each)], *each)


def _check_window(window: tuple[int, ...], step: tuple[int, ...], size: tuple[int, ...]) -> None:
    if any(not 1 <= w <= s for w, s in zip(window, size, strict=True)):
        refuse("shape", window, f"windows from 1 to the values' size {size}")
    for by, w, s in zip(step, window, size, strict=True):
        if by < 1 or (by > w and w < s):
            refuse("strides", step, f"from 1 to the window {window}, so that every value is under one")
