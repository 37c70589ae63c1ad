"""From attributions to colours: a scale for each picture, symmetric about zero, its outliers clipped and named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from enodo.core.errors import nearest, refuse

Array = np.ndarray[Any, Any]

FOR, AGAINST = (178, 24, 43), (33, 102, 172)  # the ends of RdBu, dark enough for white and light enough for black
MOST_OPAQUE = 0.9  # of the colour over a photo, so that the photo can be seen under the strongest value
DIVERGING, DIVERGING_DARK, SEQUENTIAL = "RdBu_r", "berlin", "viridis"
NOT_A_NUMBER = {True: (255, 214, 0), False: (231, 41, 138)}  # yellow is on no signed scale, pink on no unsigned one
BLOCK = 1 << 20  # values counted at a time
SIGNS = ("all", "positive", "negative", "absolute")


@dataclass(frozen=True)
class Scale:
    """Colours are full at `limit`; `peak` is the largest finite |value|. `signed`: red is for, blue is against."""

    limit: float
    peak: float
    signed: bool = True
    nans: int = 0  # values that are not a number: left out here, drawn in a colour of their own
    infinite: int = 0  # values drawn at full colour

    @property
    def clipped(self) -> bool:
        """Whether some values are stronger than the strongest colour."""
        return self.peak > self.limit

    def share(self, values: Array) -> Array:
        """Values as shares of the limit, -1 .. 1 (0 .. 1 where unsigned); all zero if there is nothing to show."""
        if self.limit == 0:
            return np.zeros_like(values, dtype=np.float64)
        return np.clip(values / self.limit, -1 if self.signed else 0, 1)


def scale_of(values: Array, clip: float = 0.02, signed: bool = True, limit: float | None = None) -> Scale:
    """The scale for `values`.

    `clip` is the share of the summed |value| that the strongest entries above the limit may carry, as Captum's
    visualisation defines its outliers; 0 clips nothing. A given `limit` (to compare pictures) is taken as it is.
    """
    if not 0 <= clip <= 1:
        refuse("clip", str(clip), "a share from 0 (nothing is clipped) to 1", "Write 0.02 for two per cent.")
    if limit is not None and not 0 < limit < float("inf"):
        refuse("limit", str(limit), "a number above 0, at which colours are full")
    size = np.abs(values).ravel()
    kept = np.isfinite(size)
    nans, infinite = 0, 0
    if not kept.all():
        nans = int(np.isnan(size).sum())
        infinite = int(size.size - kept.sum()) - nans
        size = size[kept]
    peak = float(size.max(initial=0.0))
    found = limit_of(size, clip) if limit is None else limit
    return Scale(found, peak, signed, nans, infinite)


Limits = Mapping[tuple[int, ...], float]  # by the shape of what is drawn, a limit that several pictures share


def limit_for(values: Array, limits: Limits | None) -> float | None:
    """The limit shared by everything drawn in this shape, if there is one."""
    return None if limits is None else limits.get(values.shape)


def limits_of(drawn: Iterable[Array], clip: float = 0.0) -> Limits:
    """The largest limit of the values of each shape: one scale for all of them."""
    found: dict[tuple[int, ...], float] = {}
    for values in drawn:
        found[values.shape] = max(found.get(values.shape, 0.0), scale_of(values, clip).limit)
    return {shape: limit for shape, limit in found.items() if limit > 0}


def limit_of(size: Array, clip: float) -> float:
    """The smallest of the values >= 0 up to which they carry at least `1 - clip` of their sum; 0 if all are 0.

    A histogram finds the neighbourhood, and only that is sorted: the bits of positive numbers are in the order of the
    numbers, so their first 17 make bins that suit any distribution.
    """
    peak = size.max(initial=0)
    if peak == 0 or clip == 0:
        return float(peak)
    bins = np.empty(size.shape, np.int32)
    sums = np.zeros((0x3F800000 >> 15) + 1)  # up to the bits of 1.0
    for i in range(0, len(size), BLOCK):
        part = size[i : i + BLOCK]
        bins[i : i + BLOCK] = (part / peak).astype(np.float32).view(np.int32) >> 15
        sums += np.bincount(bins[i : i + BLOCK], part, len(sums))
    total = np.cumsum(sums)
    goal = (1 - clip) * total[-1]
    found = int(np.searchsorted(total, goal))
    near = np.sort(size[bins == found])
    before = total[found - 1] if found else 0.0
    place = int(np.searchsorted(before + np.cumsum(near, dtype=np.float64), goal))
    return float(near[min(place, len(near) - 1)]) if len(near) else float(peak)


def chosen(values: Array, sign: str) -> Array:
    """Values of one sign, the others 0; all of them; or their sizes."""
    if sign not in SIGNS:
        refuse("sign", repr(sign), f"one of {', '.join(map(repr, SIGNS))}", nearest(str(sign), SIGNS))
    if sign == "all":
        return values
    if sign == "absolute":
        return np.abs(values)
    return np.maximum(values, 0) if sign == "positive" else np.minimum(values, 0)


def paint(values: Array, scale: Scale, colours: Any = None) -> Array:
    """Values (H, W) as colours (H, W, 3) uint8, by a colour map of matplotlib (a name or the map itself)."""
    share = scale.share(values)
    coded = colour_map(colours, scale.signed)((share + 1) / 2 if scale.signed else share, bytes=True)
    return np.asarray(coded)[..., :3]


def colour_map(colours: Any = None, signed: bool = True) -> Any:
    """A colour map of matplotlib, by default that of the kind of values; what is no number has a colour of its own.

    "dark": the default on a dark ground, where matplotlib has one (3.10 and later).
    """
    from matplotlib import colormaps

    if colours == "dark":
        colours = DIVERGING_DARK if signed and DIVERGING_DARK in colormaps else None
    colours = colours or (DIVERGING if signed else SEQUENTIAL)
    if isinstance(colours, str):
        if colours not in colormaps:
            refuse("colours", repr(colours), "a colour map of matplotlib", nearest(colours, list(colormaps)))
        colours = colormaps[colours]
    return colours.with_extremes(bad=np.array(NOT_A_NUMBER[signed]) / 255)


def overlay(values: Array, photo: Array, scale: Scale, opacity: float | None = None, colours: Any = None) -> Array:
    """Values (H, W) over a photo (H, W, 3): red or blue, the more opaque the larger |value|, up to `MOST_OPAQUE`.

    The photo is drawn grey and pale, so that no colour of its own is taken for an attribution. A given `opacity`
    (0 to 1) is used everywhere instead, and colours are then those of `paint`.
    """
    if opacity is not None and not 0 <= opacity <= 1:
        refuse("opacity", str(opacity), "a number from 0 (unseen) to 1")
    share = scale.share(values).astype(np.float32)
    grey = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    ground = (70 + np.float32(0.65) * grey)[..., None]
    if scale.signed and colours is None and opacity is None:
        colour = np.where((share >= 0)[..., None], np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    else:
        colour = paint(values, scale, colours).astype(np.float32)
    alpha = (
        np.abs(share) ** np.float32(0.8) * np.float32(MOST_OPAQUE) if opacity is None else np.full_like(share, opacity)
    )
    mixed = (ground + (colour - ground) * alpha[..., None]).round()
    mixed[np.isnan(share)] = NOT_A_NUMBER[scale.signed]
    return np.asarray(mixed.astype(np.uint8))


def number(value: float, sign: bool = True) -> str:
    """`value` to three digits with a true minus sign; "+" before what speaks for the answer."""
    if value != value:
        return "not a number"
    text = f"{value:+.3g}" if sign else f"{value:.3g}"
    if 1000 <= abs(value) < 1e9:
        text = f"{value:+,.0f}" if sign else f"{value:,.0f}"
    return "0" if value == 0 else text.replace("-", "\u2212")


def counted(count: int, noun: str) -> str:
    """ "1 value is", "1,200 values are"."""
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"
