"""From attributions to colours: a scale for each picture, symmetric about zero, its outliers clipped and named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FOR, AGAINST = (178, 24, 43), (33, 102, 172)  # the ends of RdBu, dark enough for white and light enough for black
MOST_OPAQUE = 0.9  # of the colour over a photo, so that the photo can be seen under the strongest value
DIVERGING, DIVERGING_DARK, SEQUENTIAL = "RdBu_r", "berlin", "viridis"


@dataclass(frozen=True)
class Scale:
    """Colours are full at `limit`; `peak` is the largest |value|. `signed`: red is for, blue is against."""

    limit: float
    peak: float
    signed: bool = True

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
    size = np.abs(values.astype(np.float64)).ravel()
    peak = float(size.max(initial=0.0))
    if limit is None:
        limit = peak
        if clip > 0 and peak > 0:
            order = np.sort(size)
            total = np.cumsum(order)
            limit = float(order[min(np.searchsorted(total, (1 - clip) * total[-1]), len(order) - 1)])
    return Scale(limit, peak, signed)


def paint(values: Array, scale: Scale, colours: str | None = None) -> Array:
    """Values (H, W) as colours (H, W, 3) uint8, by a colour map of matplotlib."""
    from matplotlib import colormaps

    share = scale.share(values)
    name = colours or (DIVERGING if scale.signed else SEQUENTIAL)
    coded = colormaps[name]((share + 1) / 2 if scale.signed else share, bytes=True)
    return np.asarray(coded)[..., :3]


def overlay(values: Array, photo: Array, scale: Scale, opacity: float | None = None) -> Array:
    """Values (H, W) over a photo (H, W, 3): red or blue, the more opaque the larger |value|, up to `MOST_OPAQUE`.

    The photo is drawn grey and pale, so that no colour of its own is taken for an attribution. A given `opacity`
    is used everywhere instead.
    """
    share = scale.share(values)
    grey = photo.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    ground = np.repeat((70 + 0.65 * grey)[..., None], 3, axis=2)
    if scale.signed:
        colour = np.where((share >= 0)[..., None], np.array(FOR, float), np.array(AGAINST, float))
    else:
        colour = paint(values, scale).astype(np.float64)
    alpha = (MOST_OPAQUE * np.abs(share) ** 0.8 if opacity is None else np.full(share.shape, opacity))[..., None]
    return np.asarray(ground * (1 - alpha) + colour * alpha).round().astype(np.uint8)


def number(value: float, sign: bool = True) -> str:
    """`value` to three digits with a true minus sign; "+" before what speaks for the answer."""
    if value != value:
        return "not a number"
    text = f"{value:+.3g}" if sign else f"{value:.3g}"
    if 1000 <= abs(value) < 1e9:
        text = f"{value:+,.0f}" if sign else f"{value:,.0f}"
    return "0" if value == 0 else text.replace("-", "\u2212")
