"""Captum's pictures by Captum's names: arrays or tensors in, a matplotlib figure and its axes out.

Pictures in enodo's own conventions, with legends in numbers, are drawn by `enodo.show`.
"""

from __future__ import annotations

import warnings
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.captum.attr._utils._visualized import (
    VisualizationDataRecord,
    format_classname,
    format_special_tokens,
    format_tooltip,
    format_word_importances,
    visualize_text,
)
from enodo.core.errors import BadType, nearest, refuse
from enodo.show.drawing import need_matplotlib
from enodo.show.pixels import array_of, as_photo, channels_first
from enodo.show.scale import chosen, counted, limit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "ImageVisualizationMethod",
    "TimeseriesVisualizationMethod",
    "VisualizationDataRecord",
    "VisualizeSign",
    "draw_mask_border",
    "draw_mask_legend",
    "format_classname",
    "format_special_tokens",
    "format_tooltip",
    "format_word_importances",
    "visualize_image_attr",
    "visualize_image_attr_multiple",
    "visualize_text",
    "visualize_timeseries_attr",
]


class ImageVisualizationMethod(Enum):
    """How an image's attributions are drawn."""

    heat_map = 1
    blended_heat_map = 2
    original_image = 3
    masked_image = 4
    alpha_scaling = 5


class TimeseriesVisualizationMethod(Enum):
    """How the attributions of a series are drawn."""

    overlay_individual = 1
    overlay_combined = 2
    colored_graph = 3


class VisualizeSign(Enum):
    """Which attributions are drawn."""

    positive = 1
    absolute_value = 2
    negative = 3
    all = 4


COLOURS = {"all": "PRGn", "positive": "Greens", "negative": "Reds", "absolute_value": "Blues"}
LARGE = 2048  # pixels along a side from which means over blocks are drawn


def _member(kind: type[Enum], given: Any, argument: str) -> str:
    """The name of a member of `kind`, given by its name or itself."""
    name = given.name if isinstance(given, kind) else given
    if name not in kind.__members__:
        refuse(argument, repr(given), f"one of {', '.join(kind.__members__)}", nearest(str(name), kind.__members__))
    return str(name)


def normalized(attr: Any, sign: str, outlier_perc: float = 2) -> tuple[np.ndarray, str]:
    """Attributions of one sign as shares -1 .. 1 of the limit that `outlier_perc` sets, and what a reader must know.

    As with Captum, negative ones alone are shares 0 .. 1.
    """
    if not 0 <= outlier_perc <= 100:
        refuse("outlier_perc", str(outlier_perc), "a percentage from 0 to 100")
    values = chosen(attr, "absolute" if sign == "absolute_value" else sign)
    finite = np.isfinite(values)
    size = np.abs(values[finite])
    limit = limit_of(size, outlier_perc / 100)
    told = "" if finite.all() else f"{counted(int((~finite).sum()), 'value')} not finite"
    if limit == 0:
        words = {"all": "Every value is zero", "absolute_value": "Every value is zero"}
        return np.where(np.isnan(values), np.nan, 0.0), told or words.get(sign, f"No value is {sign}")
    return np.clip(values / (-limit if sign == "negative" else limit), -1, 1), told


def _figure(given: Any, use_pyplot: bool, size: tuple[float, float], **grid: Any) -> tuple[Any, Any]:
    """A figure and axes: those given, or new ones, of pyplot where asked for."""
    need_matplotlib()
    if given is not None:
        return given
    if use_pyplot:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=size, **grid)
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots(**grid)


def _shown(use_pyplot: bool) -> None:
    if use_pyplot:
        from matplotlib import pyplot

        pyplot.show()


def visualize_image_attr(
    attr: Any,
    original_image: Any = None,
    method: str = "heat_map",
    sign: str = "absolute_value",
    plt_fig_axis: tuple[Figure, Axes] | None = None,
    outlier_perc: int | float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
) -> tuple[Figure, Axes]:
    """An image's attributions (H, W) or (H, W, C), by one of `ImageVisualizationMethod`; returns figure and axes."""
    from enodo.captum.attr._utils._drawn import draw_image

    method, sign = _member(ImageVisualizationMethod, method, "method"), _member(VisualizeSign, sign, "sign")
    values = _image(attr)
    photo = None
    if original_image is not None:
        photo = as_photo(original_image, values.shape)[0]
        if method != "original_image" and photo.shape[:2] != values.shape:
            told = f"(H, W) = {photo.shape[:2]} for attributions of {values.shape}"
            refuse("original_image", told, "the size of the attributions")
    elif method != "heat_map":
        refuse("original_image", "None", f"the image, which {method} is drawn from")
    if sign == "all" and method in ("masked_image", "alpha_scaling"):
        refuse("sign", "'all'", f"'positive', 'negative' or 'absolute_value': {method} cannot tell signs apart")
    figure, axis = _figure(plt_fig_axis, use_pyplot, fig_size)
    axis = axis[0] if isinstance(axis, list) else axis
    share, told = normalized(values, sign, outlier_perc)
    draw_image(
        figure, axis, share, photo, method=method, sign=sign, cmap=cmap or COLOURS[sign], alpha=alpha_overlay,
        colorbar=show_colorbar, told=told,
    )  # fmt: skip
    if title:
        axis.set_title(title)
    _shown(use_pyplot)
    return figure, axis


def _image(attr: Any) -> np.ndarray:
    """(H, W) from (H, W), (H, W, C), (C, H, W) where only that can be meant, or one image; channels are added up."""
    values = array_of(attr, "attr")
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim not in (2, 3) or 0 in values.shape:
        expected = "(H, W) or (H, W, C), with channels last"
        refuse("attr", f"shape {tuple(values.shape)}", expected, "Of a batch, give one image: attr[0].")
    return values if values.ndim == 2 else values.sum(0 if channels_first(values.shape) else 2)


def visualize_image_attr_multiple(
    attr: Any,
    original_image: Any,
    methods: list[str],
    signs: list[str],
    titles: list[str] | None = None,
    fig_size: tuple[int, int] = (8, 6),
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """`visualize_image_attr` by several methods, side by side; `kwargs` are for each of them."""
    if len(methods) != len(signs) or not methods:
        refuse("signs", f"{len(signs)} signs for {len(methods)} methods", "one for each method, and at least one")
    if titles is not None and len(titles) != len(methods):
        refuse("titles", f"{len(titles)} titles for {len(methods)} methods", "one for each method")
    figure, axes = _figure(None, use_pyplot, fig_size, nrows=1, ncols=len(methods), squeeze=False)
    found = axes[0].tolist()
    for i, (method, sign, axis) in enumerate(zip(methods, signs, found, strict=True)):
        given = {"method": method, "sign": sign, "title": titles[i] if titles else None}
        visualize_image_attr(attr, original_image, plt_fig_axis=(figure, axis), use_pyplot=False, **given, **kwargs)  # type: ignore[arg-type]
    figure.tight_layout()
    _shown(use_pyplot)
    return figure, found[0] if len(found) == 1 else found


def visualize_timeseries_attr(
    attr: Any,
    data: Any,
    x_values: Any = None,
    method: str = "overlay_individual",
    sign: str = "absolute_value",
    channel_labels: list[str] | None = None,
    channels_last: bool = True,
    plt_fig_axis: tuple[Figure, Axes | list[Axes]] | None = None,
    outlier_perc: int | float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.7,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[int, int] = (6, 6),
    use_pyplot: bool = True,
    **pyplot_kwargs: Any,
) -> tuple[Figure, Axes | list[Axes]]:
    """A series' attributions (T, C), by one of `TimeseriesVisualizationMethod`; returns figure and axes."""
    from enodo.captum.attr._utils._drawn import draw_series

    method, sign = _member(TimeseriesVisualizationMethod, method, "method"), _member(VisualizeSign, sign, "sign")
    values, series = array_of(attr, "attr"), array_of(data, "data")
    if values.ndim != 2 or values.shape != series.shape or 0 in values.shape:
        told = f"attr of shape {tuple(values.shape)} for data of shape {tuple(series.shape)}"
        refuse("attr", told, "two dimensions each, (T, C), and the same", "Of a batch, give one series: attr[0].")
    values, series = (values.T, series.T) if channels_last else (values, series)
    channels, steps = values.shape
    if channels > steps:
        warnings.warn(f"{channels} channels of {steps} steps: see `channels_last`.", UserWarning, stacklevel=2)
    times = np.arange(steps) if x_values is None else array_of(x_values, "x_values").ravel()
    if len(times) != steps:
        refuse("x_values", f"{len(times)} of them", f"one for each of {steps} steps")
    if channel_labels is not None and len(channel_labels) != channels:
        refuse("channel_labels", f"{len(channel_labels)} labels", f"one for each of {channels} channels")
    combined = method == "overlay_combined"
    share, told = normalized(values.sum(0, keepdims=True) if combined else values, sign, outlier_perc)
    figure, axis = _figure(plt_fig_axis, use_pyplot, fig_size, nrows=len(share), sharex=True)
    axes = np.ravel(np.array(axis, dtype=object))
    if len(axes) < len(share):
        refuse("plt_fig_axis", f"{len(axes)} axes", f"{len(share)}, one for each channel")
    draw_series(
        figure, list(axes[: len(share)]), share, series, times, method=method, sign=sign, labels=channel_labels,
        cmap=cmap or COLOURS[sign], alpha=alpha_overlay, colorbar=show_colorbar, told=told, line=pyplot_kwargs,
    )  # fmt: skip
    if title:
        axes[0].set_title(title)
    _shown(use_pyplot)
    return figure, axis


def _region(mask: Any) -> np.ndarray:
    region = array_of(mask, "mask")
    if region.ndim != 2:
        refuse("mask", f"shape {tuple(region.shape)}", "(H, W)", kind=BadType)
    return region.astype(bool)


def draw_mask_border(ax: Axes, mask: Any, border_width: int = 1, border_color: str | Any = "black") -> None:
    """A border of `border_width` pixels along the inner edge of a region, (H, W) of booleans."""
    from matplotlib.colors import to_rgba

    region = inner = _region(mask)
    if border_width < 1:
        refuse("border_width", str(border_width), "a number of pixels from 1")
    for _ in range(border_width if region.any() else 0):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    if region.any():
        ax.imshow((region & ~inner)[..., None] * np.array(to_rgba(border_color)))


def draw_mask_legend(
    ax: Axes,
    mask: Any,
    label: str,
    fontsize: int = 10,
    text_color: str = "white",
    bbox_facecolor: str = "black",
    bbox_alpha: float = 0.6,
) -> None:
    """A label at the centre of mass of a region, (H, W) of booleans."""
    rows, columns = np.nonzero(_region(mask))
    if len(rows):
        box = {"boxstyle": "round,pad=0.2", "facecolor": bbox_facecolor, "alpha": bbox_alpha}
        ax.text(
            float(columns.mean()), float(rows.mean()), label, color=text_color, fontsize=fontsize, ha="center",
            va="center", bbox=box, parse_math=False,
        )  # fmt: skip
