"""How the pictures of `visualization` are drawn: one artist for each of Captum's methods."""

from __future__ import annotations

from typing import Any

import numpy as np

from enodo.core.errors import about
from enodo.show.pixels import DRAWN, coarse, smaller
from enodo.show.scale import colour_map
from enodo.show.series import edges_of


def draw_image(
    figure: Any,
    axis: Any,
    share: np.ndarray,
    photo: np.ndarray | None,
    *,
    method: str,
    sign: str,
    cmap: Any,
    alpha: float,
    colorbar: bool,
    told: str,
) -> None:
    """Shares (H, W) and photo (H, W, 3) uint8 on axes without ticks; what is large is drawn as means over blocks."""
    axis.xaxis.set_ticks_position("none")
    axis.yaxis.set_ticks_position("none")
    axis.set_yticklabels([])
    axis.set_xticklabels([])
    axis.grid(visible=False)
    height, width = share.shape if photo is None else photo.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    share = coarse(share, 2 * DRAWN)[0]
    if photo is not None:
        photo = smaller(photo, 2 * DRAWN)
    heat: Any = None
    low = -1 if sign == "all" else 0
    with about("cmap"):
        coded = {"cmap": colour_map(cmap, sign == "all"), "vmin": low, "vmax": 1, "extent": extent}
    if method == "heat_map":
        heat = axis.imshow(share, **coded)
    elif photo is not None and method == "blended_heat_map":
        axis.imshow(photo.mean(2), cmap="gray", extent=extent)
        heat = axis.imshow(share, alpha=alpha, **coded)
    elif photo is not None:
        weight = np.nan_to_num(share)[..., None]
        drawn = {
            "original_image": lambda: photo,
            "masked_image": lambda: (photo * weight).astype(np.uint8),
            "alpha_scaling": lambda: np.concatenate([photo, (255 * weight).astype(np.uint8)], axis=2),
        }[method]()
        axis.imshow(drawn, extent=extent)
    if told and method != "original_image":
        axis.set_xlabel(told)
    if colorbar:
        place = _below(axis, 0.1)
        if heat is not None:
            figure.colorbar(heat, orientation="horizontal", cax=place)
        else:  # as high as that of its neighbours, so that pictures side by side are of one size
            place.axis("off")


def _below(axis: Any, pad: float) -> Any:
    """Axes for a colour bar below `axis`."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    return make_axes_locatable(axis).append_axes("bottom", size="5%", pad=pad)


def draw_series(
    figure: Any,
    axes: list[Any],
    share: np.ndarray,
    data: np.ndarray,
    times: np.ndarray,
    *,
    method: str,
    sign: str,
    labels: list[str] | None,
    cmap: Any,
    alpha: float,
    colorbar: bool,
    told: str,
    line: dict[str, Any],
) -> None:
    """Shares (C or 1, T) behind, or as the colours of, the lines of `data` (C, T)."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    with about("cmap"):
        colours, norm = colour_map(cmap, sign == "all"), Normalize(-1 if sign == "all" else 0, 1)
    edges = edges_of(np.asarray(times, np.float64))
    combined = method == "overlay_combined"
    if combined:
        axes[0].set_prop_cycle(color=colormaps["Dark2"](range(8)))
    for i, axis in enumerate(axes):
        for channel in range(len(data)) if combined else [i]:
            if method == "colored_graph":
                points = np.stack([times, data[channel]], 1)
                drawn = LineCollection(list(np.stack([points[:-1], points[1:]], 1)), cmap=colours, norm=norm, **line)
                drawn.set_array(share[i])
                axis.add_collection(drawn)
                low, high = np.nanmin(data[channel]), np.nanmax(data[channel])
                room = 0.1 * (high - low) or 1.0
                axis.set_ylim(low - room, high + room)
            else:
                axis.plot(times, data[channel], label=labels[channel] if labels and combined else None, **line)
            if labels and not combined:
                axis.set_ylabel(labels[channel])
        if method != "colored_graph":
            across = axis.get_ylim()
            axis.pcolormesh(
                edges, across, share[i][None], cmap=colours, norm=norm, alpha=alpha, zorder=0.5, linewidth=0
            )
            axis.set_ylim(across)
        axis.set_xlim(times[0], times[-1] if len(times) > 1 else times[0] + 1)
    if combined and labels:
        axes[0].legend(loc="best")
    figure.subplots_adjust(hspace=0)
    if told:
        axes[-1].set_xlabel(told)
    if colorbar:
        opacity = 1.0 if method == "colored_graph" else alpha
        strip = ScalarMappable(norm, colours)
        figure.colorbar(strip, orientation="horizontal", cax=_below(axes[-1], 0.4), alpha=opacity)
