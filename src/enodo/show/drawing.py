"""A finished drawing: its figure and axes, shown in notebooks, as SVG, or on a dark ground."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from enodo.core.errors import EnodoError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK, LIGHT = "#1b1f24", "#e9ebee"


class NoMatplotlib(EnodoError, ImportError):
    """Pictures were asked for, and what draws them is not installed."""


def need_matplotlib() -> None:
    """Refuse, saying what to install, where matplotlib or pillow is missing."""
    missing = [name for name, package in (("matplotlib", "matplotlib"), ("pillow", "PIL")) if not find_spec(package)]
    if missing:
        raise NoMatplotlib(f"Pictures need {' and '.join(missing)}; write: pip install 'enodo[show]'.")


class Drawing(NamedTuple):
    """A matplotlib Figure and its Axes (a list of them where there are several); shows itself in a notebook."""

    figure: Figure
    axes: Any

    def savefig(self, path: Any, **options: Any) -> None:
        """Write the figure to a file, as matplotlib's `Figure.savefig` does."""
        self.figure.savefig(path, **options)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png", dpi=110)
        return stream.getvalue()

    def svg(self) -> str:
        """The drawing as SVG, its letters as shapes, so that it looks alike everywhere."""
        stream = io.StringIO()
        self.figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def darken(figure: Figure) -> None:
    """Light letters and lines on a dark ground, in place of black and white."""
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.spines import Spine
    from matplotlib.text import Text

    figure.set_facecolor(DARK)
    for ax in figure.findobj(Axes):
        ax.set_facecolor(DARK)
        ax.tick_params(color=LIGHT, labelcolor=LIGHT)
    found: list[Any] = figure.findobj(lambda a: isinstance(a, (Text, Spine, Line2D, PolyCollection)))
    for artist in found:
        if isinstance(artist, PolyCollection):
            faces = np.asarray(artist.get_facecolor())
            if len(faces) == 1 and faces[0, :3].max() < 0.2:
                artist.set_facecolor(LIGHT)
        elif isinstance(artist, Spine):
            artist.set_edgecolor(LIGHT)
        elif max(to_rgb(artist.get_color())) < 0.55 and not (isinstance(artist, Text) and artist.get_bbox_patch()):
            artist.set_color(LIGHT)
