"""Axes to draw on."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes on a Figure of their own, `size` in inches; made without pyplot, so that no global state is touched."""
    return Figure(figsize=size, layout="constrained").subplots()
