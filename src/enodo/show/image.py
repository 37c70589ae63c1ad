"""Maps: the attribution of a picture, laid over it or on its own, with a legend in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show.markup import Markup, el, join, picture
from enodo.show.scale import (
    AGAINST,
    DIVERGING,
    DIVERGING_DARK,
    FOR,
    SEQUENTIAL,
    Array,
    Scale,
    number,
    overlay,
    paint,
    scale_of,
)
from enodo.show.table import ends
from enodo.show.view import Map, regions, resize

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REGIONS = 14  # squares along a side of the large-scale picture: small enough to point at an ear, few enough to read


def draw(
    view: Map,
    ax: Axes | None = None,
    *,
    kind: str = "overlay",
    clip: float = 0.02,
    signed: bool = True,
    limit: float | None = None,
    opacity: float | None = None,
    colours: str | None = None,
    title: str = "",
) -> Figure:
    """Draw a map with matplotlib and return its Figure.

    `kind`: "overlay" (over the photo, where there is one), "map" (on its own) or "regions" (sums over squares). `clip`
    and `limit` are those of `scale_of`, `opacity` that of `overlay`; `colours` names a colour map of matplotlib.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    from enodo.show.axes import new_axes

    values = regions(view.values, REGIONS) if kind == "regions" else view.values
    scale = scale_of(values, clip, signed, limit)
    ax = ax if ax is not None else new_axes((5.2, 4.4))
    over = view.photo is not None and kind != "map"
    ax.imshow(pixels(values, view.photo if over else None, scale, opacity, colours), interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    name: Any = colours or (DIVERGING if signed else SEQUENTIAL)
    if over and signed and colours is None:
        name = LinearSegmentedColormap.from_list("over", [np.array(c) / 255 for c in (AGAINST, (255, 255, 255), FOR)])
    span = scale.limit or 1.0
    bar = ScalarMappable(Normalize(-span if signed else 0, span), name)
    figure: Any = ax.figure
    extend = {True: "both" if signed else "max", False: "neither"}[scale.clipped]
    figure.colorbar(bar, ax=ax, fraction=0.046, pad=0.03, extend=extend).set_label(
        "against  \u2190  attribution per pixel  \u2192  for" if signed else "attribution per pixel"
    )
    if (note := _note(scale, values, view)) != "":
        ax.text(0, -0.03, note, transform=ax.transAxes, va="top", fontsize=7)
    return figure


def pixels(
    values: Array, photo: Array | None, scale: Scale, opacity: float | None = None, colours: str | None = None
) -> Array:
    """The colours (H, W, 3) of a map: over the photo, scaled up to it, or alone at its own size."""
    if photo is None:
        return paint(values, scale, colours)
    return overlay(resize(values, photo.shape[:2]), photo, scale, opacity)


def fragment(view: Map, unit: str, signed: bool = True, clip: float = 0.02) -> Markup:
    """The map as HTML: pixel by pixel, and summed over regions where it is fine enough to be hard to read."""
    figures = [_figure(view, view.values, "Pixel by pixel", f"{unit} per pixel", signed, clip)]
    if min(view.values.shape) > 2 * REGIONS:
        coarse = regions(view.values, REGIONS)
        h, w = (side // REGIONS for side in view.values.shape)
        figures.insert(0, _figure(view, coarse, "By area", f"{unit} per area of {w} \u00d7 {h} pixels", signed, clip))
    elif view.photo is not None:
        h, w = view.values.shape
        figures[0] = _figure(
            view, view.values, f"{w} \u00d7 {h} places of this layer", f"{unit} per place", signed, clip
        )
    return el("div", *figures, class_="maps")


def _figure(view: Map, values: Array, name: str, unit: str, signed: bool, clip: float) -> Markup:
    scale = scale_of(values, clip, signed)
    alt = f"Attribution map, {name.lower()}, from {number(-scale.peak if signed else 0)} to {number(scale.peak)}"
    if view.photo is not None:
        image = picture(pixels(values, view.photo, scale), alt, lossless=values.size < view.photo.size // 30)
    else:
        dark = paint(values, scale, _dark()) if signed else None
        image = picture(paint(values, scale), alt, dark=dark)
    caption = el("figcaption", el("strong", name), legend(scale, unit, view.photo is not None), class_="legend")
    note = _note(scale, values, view)
    return el("figure", image, caption, el("p", note, class_="fine") if note else None)


def _dark() -> str:
    """The diverging colour map with a dark centre, where matplotlib has it (3.10 and later)."""
    from matplotlib import colormaps

    return DIVERGING_DARK if DIVERGING_DARK in colormaps else DIVERGING


def legend(scale: Scale, unit: str, over_photo: bool) -> Markup:
    """The strip of colours with its numbers, drawn by the same function as the picture."""
    ramp = np.repeat(np.linspace(-1 if scale.signed else 0, 1, 201)[None], 10, axis=0) * (scale.limit or 1.0)
    shown = Scale(scale.limit or 1.0, scale.peak, scale.signed)
    grey = np.full((*ramp.shape, 3), 200, dtype=np.uint8)
    if over_photo:
        strip = picture(overlay(ramp, grey, shown), "")
    else:
        strip = picture(paint(ramp, shown), "", dark=paint(ramp, shown, _dark()) if scale.signed else None)
    return join(el("span", strip, class_="strip"), ends(scale, unit))


def _note(scale: Scale, values: Array, view: Map) -> str:
    """What a reader must know about the picture: that it is empty, clipped, or coarser than it looks."""
    if scale.peak == 0:
        return "Every value is zero: nothing in the picture moved this score."
    notes = []
    if scale.clipped:
        notes.append(
            f"Colours are full at {number(scale.limit, False)}; the strongest value is {number(scale.peak, False)}."
        )
    if view.photo is not None and view.values.shape != view.photo.shape[:2]:
        notes.append(f"Computed at {view.values.shape[1]} \u00d7 {view.values.shape[0]} and enlarged to the photo.")
    return " ".join(notes)
