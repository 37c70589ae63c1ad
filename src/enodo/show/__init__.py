"""Pictures and pages of attributions. Everything here only reads an `Attribution`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enodo.show.sample import Sample
from enodo.show.tokens import Words
from enodo.show.view import Bars, Map, one_target, view_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from enodo.core.result import Attribution

__all__ = ["Bars", "Map", "Sample", "Words", "in_notebook", "plot", "to_html", "view_of"]


def plot(
    attribution: Attribution,
    *,
    row: int = 0,
    target: int = 0,
    photo: Any = None,
    sample: Sample | None = None,
    **options: Any,
) -> Figure:
    """Draw one row with matplotlib: a map for (C, H, W), words where tokens are set, else bars.

    Of several targets the one at position `target` is drawn. `photo` (H, W, 3), uint8 or floats of 0 to 1, is drawn
    under a map; a `Sample` tells more. `ax=` draws on given axes; further options are those of `image.draw`,
    `text.draw` and `table.draw`. Returns the Figure; nothing is shown on a screen.
    """
    from enodo.show import image, table, text
    from enodo.show.view import row_of
    from enodo.show.words import is_signed

    attribution = one_target(attribution, target)
    view = view_of(attribution, sample or _sample(photo, row), row)
    draw: Any = {Map: image.draw, Words: text.draw, Bars: table.draw}[type(view)]
    options.setdefault("signed", is_signed(attribution, row_of(attribution, row)))
    options.setdefault("title", attribution.method.replace("_", " "))
    figure: Figure = draw(view, **options)
    return figure


def to_html(attribution: Attribution, *, row: int = 0, target: int = 0, photo: Any = None) -> str:
    """One row as a self-contained HTML document: the picture, its legend, and whether its parts add up."""
    from importlib import resources

    from enodo.core.registry import methods
    from enodo.show.html import Entry, card, document

    attribution = one_target(attribution, target)
    style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
    about = methods().get(attribution.method)
    title = about.title if about else attribution.method.replace("_", " ") or "Attribution"
    told = (about.summary, about.when) if about else ("", "")
    entry = Entry(attribution, title, *told, baseline="the baseline")
    sample = _sample(photo, row)
    body = card(entry, sample, "the target", row=row)
    return document(f"enodo: {title}", style, body)


def in_notebook(attribution: Attribution) -> str | None:
    """The first row in a frame, so that neither page's style touches the other; None if it cannot be drawn."""
    from enodo.core.errors import EnodoError
    from enodo.show.markup import el

    try:
        page = to_html(attribution)
    except (EnodoError, ImportError):
        return None
    return el("iframe", sandbox="", srcdoc=page, width="100%", height="560", style="border: 0", title="Attribution")


def _sample(photo: Any, row: int) -> Sample | None:
    """A Sample for a photo given as an array, or None, so that the labels on the attribution are used."""
    if photo is None:
        return None
    import numpy as np

    from enodo.core.errors import refuse

    pixels = np.asarray(photo)
    pixels = pixels[row] if pixels.ndim == 4 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        refuse("photo", f"shape {pixels.shape}", "(H, W, 3)", "Write photo.permute(1, 2, 0) for a (C, H, W) tensor.")
    if pixels.dtype.kind == "f":
        pixels = (pixels.clip(0, 1) * 255).round()
    return Sample("image", f"row {row}", photo=np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.uint8))
