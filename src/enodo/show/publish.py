"""An Attribution as a page or a file that can be sent to somebody."""

from __future__ import annotations

import base64
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enodo.core.errors import EnodoError, refuse
from enodo.core.registry import methods
from enodo.core.result import PICTURES
from enodo.show import choose
from enodo.show.choose import Given
from enodo.show.drawing import Drawing, need_matplotlib
from enodo.show.figures import plot, title_of
from enodo.show.layers import Channels
from enodo.show.markup import Markup, el
from enodo.show.sample import Sample
from enodo.show.series import Series
from enodo.show.view import Map, one_target
from enodo.show.words import balance, noise, settled

if TYPE_CHECKING:
    from enodo.core.result import Attribution

LARGE = 400_000  # letters of an SVG beyond which a PNG is smaller


def to_html(
    attribution: Attribution,
    *,
    kind: str | None = None,
    row: int | None = None,
    target: int = 0,
    data: Any = None,
    channels: str | None = None,
    **options: Any,
) -> str:
    """One row as a self-contained HTML document: the picture, its legend, and whether its parts add up.

    Without a `row` the first is shown, and of texts all of them. The arguments are those of `plot`.
    """
    from enodo.show.html import Entry, card, document

    attribution = one_target(attribution, target)
    style = resources.files("enodo.show").joinpath("report.css").read_text(encoding="utf-8")
    title = title_of(attribution)
    texts = attribution.texts is not None and len(attribution.texts) > 1
    given = Given(data, None, channels)
    several = kind in choose.OF_ROWS or len(choose.parts_of(attribution)) > 1
    view = None if several else choose.view_for(attribution, row or 0, kind, given)
    if kind is not None or options or view is None or isinstance(view, (Series, Channels)):
        body = _drawn(attribution, title, row or 0, kind=kind, data=data, channels=channels, **options)
    else:
        about = methods().get(attribution.method)
        told = (about.summary, about.when) if about else ("", "")
        sample = None
        if isinstance(view, Map):  # as `choose` reads the shape
            need_matplotlib()
            sample = Sample("image", f"row {row or 0}", photo=view.photo) if view.photo is not None else None
            attribution = replace(attribution, values=choose.as_row(view.values[None], row or 0))
        entry = Entry(attribution, title, *told, baseline="the baseline")
        body = card(entry, sample, "the target", row=row if row is not None or texts else 0)
    return document(f"enodo: {title}", style, body)


def _drawn(attribution: Attribution, title: str, row: int, **options: Any) -> Markup:
    """A drawing, in light and dark, with what there is to say about its row."""
    pictures = [plot(attribution, row=row, dark=dark, **options) for dark in (False, True)]
    alt = f"{title}: {', '.join(filter(None, [str(options['kind'] or 'drawing'), f'row {row}']))}"
    image = el("img", src=_url(pictures[0]), alt=alt, class_="drawing")
    shown = el("picture", el("source", srcset=_url(pictures[1]), media="(prefers-color-scheme: dark)"), image)
    notes = [balance(attribution, "the target", "the baseline", "", row), settled(attribution, row)]
    notes += [noise(attribution, row), *attribution.notes]
    framed = el("div", shown, class_="scroll", tabindex=0, role="region", aria_label=alt)
    return el("article", el("h3", title), framed, *(el("p", note, class_="note") for note in notes if note))


def _url(drawing: Drawing) -> str:
    text = drawing.svg()
    kind, content = ("svg+xml", text.encode()) if len(text) < LARGE else ("png", drawing._repr_png_())
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def in_notebook(attribution: Attribution) -> str | None:
    """The first row in a frame, so that neither page's style touches the other; None if it cannot be drawn."""
    try:
        page = to_html(attribution)
    except (EnodoError, ImportError):
        return None
    return el("iframe", sandbox="", srcdoc=page, width="100%", height="560", style="border: 0", title="Attribution")


def save(attribution: Attribution, path: str | Path, **options: Any) -> None:
    """Write a page (.html) or a picture (.png, .svg, .pdf), by the ending of `path`; options are those of `plot`."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in PICTURES:
        refuse("path", repr(path.name), f"a name that ends in {', '.join(PICTURES)}")
    if ending == ".html":
        path.write_text(to_html(attribution, **options), encoding="utf-8")
        return
    figure = plot(attribution, **options).figure
    figure.savefig(path, dpi=150, metadata={"Date": None} if ending == ".svg" else None)
