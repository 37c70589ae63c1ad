"""Maps: the attribution of a picture, laid over it or on its own, with a legend in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show import segments as areas
from enodo.show.markup import Markup, el, join, picture
from enodo.show.pixels import (
    NEED_PHOTO,
    OVER_PHOTO,
    REGIONS,
    coarse,
    pixels,
    ready,
    size_text,
    smaller,
    with_minus_signs,
)
from enodo.show.scale import (
    AGAINST,
    FOR,
    Array,
    Limits,
    Scale,
    chosen,
    colour_map,
    limit_for,
    number,
    overlay,
    paint,
    scale_of,
)
from enodo.show.table import ends
from enodo.show.view import Map, regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ON_PAGE = 512  # pixels along a side of a map on a page
WIDE = 8  # times as wide as high, or as high as wide, from where cells are drawn stretched


def draw(
    view: Map,
    ax: Axes | None = None,
    *,
    kind: str = "overlay",
    sign: str = "all",
    clip: float = 0.02,
    signed: bool = True,
    limit: float | None = None,
    opacity: float | None = None,
    colours: Any = None,
    segments: Any = None,
    unit: str = "attribution",
    title: str = "",
) -> Figure:
    """Draw a map with matplotlib and return its Figure.

    kind      "overlay" (over the photo, where there is one), "map" (on its own), "regions" (sums over squares),
              "original", "masked" (the photo dark where nothing mattered), "alpha" (transparent there)
    sign      which values are shown: "all", "positive", "negative", "absolute"
    clip      see `scale_of`, as for `limit`; `opacity`: see `overlay`
    colours   a colour map of matplotlib, by its name or itself
    segments  (H, W) whole numbers: superpixels, whose borders are drawn and the strongest of which are numbered;
              True: the areas of one value, where a method has switched areas off
    """
    from enodo.show.axes import legend_bar, minus_signs, new_axes, titled, under

    shown, step = ready(view, kind)
    if colours == "dark" and shown.photo is not None:  # the ground is the photo
        colours = None
    values = chosen(shown.values, sign)
    signed = signed and sign != "absolute"
    scale = scale_of(values, clip, signed, limit)
    ax = ax if ax is not None else new_axes(size_of(view))
    height, width = view.values.shape if shown.photo is None else view.photo.shape[:2]  # type: ignore[union-attr]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    drawn = pixels(Map(values, shown.photo), kind, scale, opacity, colours)
    aspect: Any = "equal" if max(height, width) <= WIDE * min(height, width) else "auto"
    ax.imshow(drawn, interpolation="nearest", extent=extent, aspect=aspect)
    ax.set_axis_off()
    titled(ax, title)
    notes = [_note(scale, view.values, view, sign, kind), averaged(view, step)]
    if segments is not None and segments is not False:
        notes.append(areas.draw(ax, view.values, segments, extent, view.photo))
    if kind != "original":
        if signed and kind not in NEED_PHOTO:
            minus_signs(ax, values, scale, extent)
        over = shown.photo is not None and kind in OVER_PHOTO and opacity is None
        strip = _colours(colours, signed, over, kind)
        legend_bar(ax, scale, sign, strip, f"{unit} per {_cell(view, kind)}", strength=kind in NEED_PHOTO)
    under(ax, " ".join(filter(None, notes)))
    figure: Any = ax.figure
    return figure


def size_of(view: Map) -> tuple[float, float]:
    """Inches of a picture with its legend: as wide for its height as the map, within what a page holds."""
    height, width = view.values.shape if view.photo is None else view.photo.shape[:2]
    ratio = min(max(width / height, 0.4), 2.5)
    return (3.6 * ratio + 1.4, 4.3) if ratio < 1.4 else (6.4, 5.0 / ratio + 1.2)


def averaged(view: Map, step: int) -> str:
    """That a map was too large to be drawn value by value."""
    return f"{size_text(view.values.shape)} values, drawn as means over {step} \u00d7 {step}." if step > 1 else ""


def _cell(view: Map, kind: str) -> str:
    """What one value of the picture belongs to."""
    if view.shared:
        return "area"
    if kind == "regions" and max(view.values.shape) > REGIONS:
        return "area"
    return "pixel" if view.photo is None or view.values.shape == view.photo.shape[:2] else "place"


def _colours(colours: Any, signed: bool, over: bool, kind: str) -> Any:
    """The colour map that the legend shows: the picture's."""
    from matplotlib.colors import LinearSegmentedColormap

    if kind in NEED_PHOTO:
        return LinearSegmentedColormap.from_list("seen", ["black" if kind == "masked" else "white", "0.6"])
    if over and signed and colours is None:
        return LinearSegmentedColormap.from_list("over", [np.array(c) / 255 for c in (AGAINST, (255, 255, 255), FOR)])
    return colour_map(colours, signed)


def fragment(view: Map, unit: str, signed: bool = True, limits: Limits | None = None, clip: float = 0.02) -> Markup:
    """The map as HTML: pixel by pixel, and summed over regions where it is fine enough to be hard to read."""
    figures = [_figure(view, view.values, "Pixel by pixel", f"{unit} per pixel", signed, clip, limits)]
    if view.shared:
        figures = [_figure(view, view.values, "By area", f"{unit} per area", signed, clip, limits)]
    elif min(view.values.shape) > 2 * REGIONS:
        coarse = regions(view.values, REGIONS)
        h, w = (side // REGIONS for side in view.values.shape)
        per = f"{unit} per area of {w} \u00d7 {h} pixels"
        figures.insert(0, _figure(view, coarse, "By area", per, signed, clip, limits))
    elif view.photo is not None:
        h, w = view.values.shape
        figures[0] = _figure(
            view, view.values, f"{w} \u00d7 {h} places of this layer", f"{unit} per place", signed, clip, limits
        )
    return el("div", *figures, class_="maps")


def _figure(view: Map, values: Array, name: str, unit: str, signed: bool, clip: float, limits: Limits | None) -> Markup:
    limit = limit_for(values, limits)
    values, step = coarse(values, ON_PAGE)
    scale = scale_of(values, clip, signed, limit)
    alt = f"Attribution map, {name.lower()}, from {number(-scale.peak if signed else 0)} to {number(scale.peak)}"
    if view.photo is not None:
        drawn = pixels(Map(values, smaller(view.photo, ON_PAGE)), "overlay", scale)
        drawn = with_minus_signs(drawn, values, scale)
        image = picture(drawn, alt, lossless=values.size < view.photo.size // 30)
    else:
        dark = with_minus_signs(paint(values, scale, "dark"), values, scale, 32) if signed else None
        image = picture(with_minus_signs(paint(values, scale), values, scale, 32), alt, dark=dark)
    caption = el("figcaption", el("strong", name), legend(scale, unit, view.photo is not None), class_="legend")
    note = " ".join(filter(None, [_note(scale, values, view), averaged(view, step)]))
    return el("figure", image, caption, el("p", note, class_="fine") if note else None)


def legend(scale: Scale, unit: str, over_photo: bool) -> Markup:
    """The strip of colours with its numbers, drawn by the same function as the picture."""
    ramp = np.repeat(np.linspace(-1 if scale.signed else 0, 1, 201)[None], 10, axis=0) * (scale.limit or 1.0)
    shown = Scale(scale.limit or 1.0, scale.peak, scale.signed)
    grey = np.full((*ramp.shape, 3), 200, dtype=np.uint8)
    if over_photo:
        strip = picture(overlay(ramp, grey, shown), "")
    else:
        strip = picture(paint(ramp, shown), "", dark=paint(ramp, shown, "dark") if scale.signed else None)
    return join(el("span", strip, class_="strip"), ends(scale, unit))


def _note(scale: Scale, values: Array, view: Map, sign: str = "all", kind: str = "overlay") -> str:
    """What a reader must know about the picture, and whether it is coarser than it looks."""
    from enodo.show.axes import told

    notes = [
        "" if kind == "map" else view.note,
        "Each pixel carries what its whole area contributed." if view.shared and kind != "original" else "",
        "" if kind == "original" else told(scale, values, sign, kind not in NEED_PHOTO),
    ]
    enlarged = kind not in ("original", "map") and view.photo is not None
    if enlarged and scale.peak > 0 and view.values.shape != view.photo.shape[:2]:  # type: ignore[union-attr]
        notes.append(f"Computed at {size_text(view.values.shape)} and enlarged to the photo.")
    return " ".join(filter(None, notes))
