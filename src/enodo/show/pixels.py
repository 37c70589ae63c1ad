"""Pictures as pixels: whatever a user has made into RGB, big maps made smaller, a map laid over a photo in each way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from enodo.core.errors import BadType, describe, nearest, refuse
from enodo.show.scale import Array, Scale, counted, number, overlay, paint
from enodo.show.view import Map, regions, resize

MARKED = 20  # cells along a side up to which those that speak against carry a minus sign
DRAWN = 1024  # pixels along a side beyond which means over blocks are drawn
REGIONS = 14  # squares along a side of the large-scale picture: small enough to point at an ear, few enough to read
KINDS = ("overlay", "map", "regions", "original", "masked", "alpha")
OVER_PHOTO = ("overlay", "regions")  # laid over the photo where there is one
NEED_PHOTO = ("original", "masked", "alpha")
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def array_of(value: Any, argument: str) -> Array:
    """Numbers from a tensor on any device, an array, a list or a PIL image."""
    value = getattr(value, "tensor", value)
    if isinstance(value, torch.Tensor):
        value = value.detach().to("cpu")
        value = (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        refuse(argument, describe(value), "a tensor or array of numbers", kind=BadType)
    return array


def as_photo(photo: Any, size: tuple[int, int] | None = None) -> tuple[Array, str]:
    """A picture as (H, W, 3) uint8, and a sentence about what was done to its values ("" where nothing was).

    Understood are (H, W), (H, W, C) and (C, H, W) with C = 1 (grey), 3 (RGB) or 4 (RGBA, laid on white), of bytes, of
    floats from 0 to 1 or from 0 to 255; others, as normalised inputs of a model, are stretched to what can be seen.
    `size` (H, W) of the map decides where a shape can be read in two ways.
    """
    pixels = array_of(photo, "data")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif pixels.ndim == 3 and channels_first(pixels.shape, size):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3 or pixels.shape[2] not in CHANNELS or 0 in pixels.shape:
        expected = "a picture: (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels"
        refuse("data", f"shape {tuple(np.shape(array_of(photo, 'data')))}", expected)
    alpha = None
    if pixels.shape[2] == 4:
        pixels, alpha = pixels[..., :3], pixels[..., 3:]
    pixels, told = _bytes(pixels)
    if alpha is not None:
        share = _bytes(alpha)[0] / 255.0
        pixels = (pixels * share + 255 * (1 - share)).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))), told


def channels_first(shape: tuple[int, ...], size: tuple[int, int] | None = None) -> bool:
    """Whether a picture of three dimensions is (C, H, W); where both can be, `size` decides, then (H, W, C)."""
    first, last = shape[0] in CHANNELS, shape[2] in CHANNELS
    if first and last and size is not None:
        return fits(shape[1:], size) and not fits(shape[:2], size)
    return first and not last


def _bytes(pixels: Array) -> tuple[Array, str]:
    if pixels.dtype == np.uint8 and pixels.max(initial=0) > 1:
        return pixels, ""
    pixels = pixels.astype(np.float32)
    finite = np.isfinite(pixels)
    told = (
        "" if finite.all() else f"Of the picture, {counted(int((~finite).sum()), 'value')} not finite and drawn black. "
    )
    low, high = float(pixels.min(where=finite, initial=np.inf)), float(pixels.max(where=finite, initial=-np.inf))
    if low > high:  # nothing finite
        low = high = 0.0
    pixels = np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)
    if low >= -0.1 and high <= 1.1:  # 0 .. 1, and what a resampling made of it
        pixels = pixels * 255
    elif low < 0 or high > 255 or high <= 10:
        told += f"The picture has values from {number(low, False)} to {number(high, False)}, stretched to be seen."
        pixels = (pixels - low) * (255 / ((high - low) or 1.0))
    return pixels.clip(0, 255).round().astype(np.uint8), told.strip()


def fits(large: tuple[int, ...], small: tuple[int, ...]) -> bool:
    """Whether maps of these two sizes (H, W) can show the same picture: as wide for their height, to within a cell."""
    (H, W), (h, w) = large, small
    return abs(H * w - W * h) <= max(H, W, h, w)


def coarse(values: Array, most: int = DRAWN) -> tuple[Array, int]:
    """(h, w) as means over blocks, so that no side has more than `most`, and the side of a block."""
    step = math.ceil(max(values.shape[:2]) / most)
    if step <= 1:
        return values, 1
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], step)
        counts = np.diff(starts, append=values.shape[axis])
        sums = np.add.reduceat(values, starts, axis=axis, dtype=np.float64)
        values = sums / (counts[:, None] if axis == 0 else counts)
    return values, step


def smaller(photo: Array, most: int = DRAWN) -> Array:
    """A photo whose longer side has at most about `most` pixels."""
    from PIL import Image

    step = math.ceil(max(photo.shape[:2]) / most)
    return photo if step <= 1 else np.asarray(Image.fromarray(photo).reduce(step))


def enlarged(values: Array, size: tuple[int, int], limit: float) -> Array:
    """A map brought to (H, W); what is no number stays in its own cells, what is infinite becomes full colour."""
    if np.isfinite(values).all():
        return resize(values, size)
    lost = np.isnan(values)
    out = resize(np.nan_to_num(values, nan=0.0, posinf=limit, neginf=-limit), size)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, values.shape, strict=True))
    return np.where(lost[np.ix_(rows, columns)], np.nan, out)


def ready(view: Map, kind: str) -> tuple[Map, int]:
    """The map and photo that will be drawn for this kind, no larger than a reader can see, and the block of a mean."""
    if kind not in KINDS:
        refuse("kind", repr(kind), f"one of {', '.join(map(repr, KINDS))}", nearest(str(kind), KINDS))
    photo = view.photo
    if photo is None and kind in NEED_PHOTO:
        refuse("kind", f"{kind!r} without the picture", "the picture as well", "Write plot(..., data=picture).")
    if photo is not None and not fits(photo.shape[:2], view.values.shape):
        told = f"a picture of {size_text(photo.shape)} for a map of {size_text(view.values.shape)}"
        refuse("data", told, "the picture that was explained", "Cut and scale it as the model saw it.")
    summed = kind == "regions" and not view.shared
    values, step = (regions(view.values, REGIONS), 1) if summed else coarse(view.values)
    return replace(view, values=values, photo=None if photo is None or kind == "map" else smaller(photo)), step


def size_text(shape: tuple[int, ...]) -> str:
    """ "W x H" as people write the size of a picture."""
    return f"{shape[1]} \u00d7 {shape[0]}"


def pixels(view: Map, kind: str, scale: Scale, opacity: float | None = None, colours: Any = None) -> Array:
    """The colours (H, W, 3 or 4) uint8 of what `ready` returned: over the photo, at its size, or alone at its own.

    `masked` darkens the photo by the size of the attribution, `alpha` makes it transparent by it.
    """
    values, photo = view.values, view.photo
    if photo is None:
        return paint(values, scale, colours)
    if kind == "original":
        return photo
    values = enlarged(values, photo.shape[:2], scale.limit)
    if kind in OVER_PHOTO:
        return overlay(values, photo, scale, opacity, colours)
    share = np.nan_to_num(np.abs(scale.share(values)))[..., None]
    if kind == "masked":
        return np.asarray((photo * share).round().astype(np.uint8))
    return np.concatenate([photo, (255 * share).round().astype(np.uint8)], axis=2)


def strong_against(values: Array, scale: Scale) -> list[tuple[int, int, bool]]:
    """Cells (row, column) of a coarse map that speak strongly against, and whether their colour is dark.

    They carry a minus sign: a second cue, for who cannot tell the colours apart. None where cells are too small for it.
    """
    if not scale.signed or max(values.shape) > MARKED:
        return []
    share = np.nan_to_num(scale.share(values))
    return [(int(i), int(j), bool(share[i, j] < -0.6)) for i, j in zip(*np.nonzero(share < -0.3), strict=True)]


def with_minus_signs(drawn: Array, values: Array, scale: Scale, cell: int = 8) -> Array:
    """A picture (H, W, 3) of a coarse map with minus signs, enlarged until its cells have `cell` pixels to a side."""
    marks = strong_against(values, scale)
    if not marks:
        return drawn
    grow = math.ceil(cell * max(values.shape) / max(drawn.shape[:2]))
    drawn = np.repeat(np.repeat(drawn, grow, 0), grow, 1)
    high, wide = drawn.shape[0] / values.shape[0], drawn.shape[1] / values.shape[1]
    half, thick = max(1, round(wide * 0.16)), max(1, round(high * 0.06))
    for i, j, dark in marks:
        y, x = int((i + 0.5) * high), int((j + 0.5) * wide)
        drawn[y - thick : y + thick, x - half : x + half] = 255 if dark else 0
    return drawn
