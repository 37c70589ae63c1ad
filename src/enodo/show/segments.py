"""Superpixels: their borders on a picture, the strongest of them numbered, and what each contributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.show.pixels import array_of, coarse, size_text
from enodo.show.scale import Array, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE = 512  # pixels along a side of a mask up to which every border is drawn
NUMBERED = 8  # segments that are named in the legend


def as_segments(segments: Any, sizes: list[tuple[int, ...]]) -> Array:
    """A mask of segments (H, W), one whole number a pixel; its size must be one of `sizes`."""
    mask = array_of(segments, "segments")
    if mask.ndim != 2 or mask.shape not in sizes:
        expected = " or ".join(sorted({size_text(size) for size in sizes}))
        refuse("segments", f"shape {tuple(mask.shape)}", f"one number for each pixel of {expected}")
    if mask.dtype.kind == "f" and not np.array_equal(mask, np.floor(mask)):
        refuse("segments", "numbers with fractions", "one whole number for each segment")
    return mask.astype(np.int64)


def borders(mask: Array) -> Array:
    """Lines (n, 2, 2) of (x, y) between pixels of different segments, in pixels from the upper left corner."""
    rows, columns = np.nonzero(mask[:, 1:] != mask[:, :-1])
    upright = np.stack([np.stack([columns + 1, rows], 1), np.stack([columns + 1, rows + 1], 1)], 1)
    rows, columns = np.nonzero(mask[1:] != mask[:-1])
    level = np.stack([np.stack([columns, rows + 1], 1), np.stack([columns + 1, rows + 1], 1)], 1)
    return np.concatenate([upright, level]).astype(np.float64)


def totals(values: Array, mask: Array) -> tuple[Array, Array, bool]:
    """Segments, what each contributed, and whether that is a sum over its pixels.

    Where all pixels of a segment carry one value, as methods that switch segments off give it, it is the segment's own
    and is not multiplied by the number of pixels.
    """
    names, index = np.unique(mask, return_inverse=True)
    index = index.ravel()
    counts = np.bincount(index, minlength=len(names))
    sums = np.bincount(index, values.ravel(), len(names))
    means = sums / counts
    shared = len(names) < mask.size and np.allclose(values.ravel(), means[index], rtol=1e-5, atol=0, equal_nan=True)
    return names, means if shared else sums, not shared


def draw(ax: Axes, values: Array, segments: Any, extent: tuple[float, float, float, float], photo: Any) -> str:
    """Draw borders and the numbers of the strongest segments; return the legend that says what each contributed."""
    from matplotlib.collections import LineCollection

    sizes = [values.shape] + ([photo.shape[:2]] if photo is not None else [])
    if segments is True:
        segments = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    mask = as_segments(segments, sizes)
    height, width = mask.shape
    scale = np.array([(extent[1] - extent[0]) / width, (extent[2] - extent[3]) / height])
    step = coarse(np.empty(mask.shape, bool), FINE)[1]
    lines = borders(mask[::step, ::step]) * step * scale + (extent[0], extent[3])
    ax.add_collection(LineCollection(list(lines), colors="0.1", linewidths=0.9, capstyle="projecting"))
    if mask.shape != values.shape:
        return ""
    names, given, summed = totals(values, mask)
    order = np.argsort(-np.abs(np.nan_to_num(given)), kind="stable")[:NUMBERED]
    order = order[np.nan_to_num(given[order]) != 0]
    told = []
    for rank, i in enumerate(order, 1):
        rows, columns = np.nonzero(mask == names[i])
        middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)  # a pixel of the segment itself
        x, y = (columns[middle] + 0.5, rows[middle] + 0.5) * scale + (extent[0], extent[3])
        box = {"boxstyle": "round,pad=0.2", "facecolor": "black", "edgecolor": "none", "alpha": 0.65}
        ax.text(x, y, str(rank), color="white", fontsize=7, ha="center", va="center", bbox=box)
        told.append(f"{rank}: {number(float(given[i]))}")
    kind = "summed over each area" if summed else "per area"
    more = f", {len(names):,} areas in all" if len(names) > len(order) else ""
    return f"Areas by strength ({kind}{more}): {', '.join(told)}." if told else ""
