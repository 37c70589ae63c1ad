"""Words: each on a ground of red (for) or blue (against, and underlined too), the deeper the stronger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.show.markup import Markup, el, join
from enodo.show.scale import AGAINST, FOR, Scale, number, scale_of
from enodo.show.table import legend
from enodo.show.tokens import Words, spaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 10  # depths of colour: classes l0 .. l10 of the style sheet, so that the page needs no style attributes


def fragment(view: Words, unit: str, signed: bool = True) -> Markup:
    """The text as HTML; a word's number shows on hovering, and the words by strength in a table that opens."""
    scale = scale_of(view.values, 0.0, signed)
    pieces = []
    for word, space, added, value in zip(view.words, spaced(view.words), view.special, view.values, strict=True):
        lead = " " if space.startswith(" ") else ""
        pieces.append(join(lead, _word(word, float(value), added, scale)))
    text = el("p", *pieces, class_="words", lang="")
    note = "Every value is zero: no word moved this score." if scale.peak == 0 else None
    return join(text, legend(scale, f"{unit} per word"), el("p", note, class_="fine") if note else None, ranking(view))


def _word(word: str, value: float, added: bool, scale: Scale) -> Markup:
    share = float(scale.share(np.array(value)))
    level = round(abs(share) * LEVELS)
    sign = "zero" if level == 0 else "pos" if share > 0 else "neg"
    classes = f"w {sign} l{level}" + (" added" if added else "")
    return el("span", word, class_=classes, title=f"{word}: {number(value)}")


def ranking(view: Words, count: int = 200) -> Markup:
    """Words by strength with their numbers, closed at first: for exact reading, and for who cannot see colours."""
    order = np.argsort(-np.abs(view.values), kind="stable")[:count]
    rows = [el("tr", el("td", view.words[i]), el("td", number(float(view.values[i])), class_="num")) for i in order]
    head = el("tr", el("th", "word", scope="col"), el("th", "attribution", scope="col", class_="num"))
    table = el("table", el("thead", head), el("tbody", *rows))
    return el("details", el("summary", "Every word with its number"), table)


def draw(view: Words, ax: Axes | None = None, *, signed: bool = True, title: str = "", **options: Any) -> Figure:
    """Draw the text with matplotlib, from the top left of the axes in lines of `WIDTH` letters; return the Figure."""
    from matplotlib.transforms import ScaledTranslation

    from enodo.show.axes import new_axes

    scale = scale_of(view.values, options.pop("clip", 0.0), signed, options.pop("limit", None))
    lines = wrap(view)
    ax = ax if ax is not None else new_axes(size_of(view))
    figure: Any = ax.figure
    place: Any = figure.dpi_scale_trans + ScaledTranslation(0, 1, ax.transAxes)  # type: ignore[arg-type]
    for y, line in enumerate(lines, 1):
        for x, i in line:
            share = float(scale.share(np.array(view.values[i])))
            colour = np.array(FOR if share > 0 else AGAINST) / 255
            box = {"facecolor": (*colour, 0.55 * abs(share)), "edgecolor": "none", "pad": 1.5}
            left, base = x * LETTER, -y * LINE
            ax.text(
                left, base, view.words[i], transform=place, family="monospace", fontsize=11, parse_math=False, bbox=box
            )
            if share < -0.5 / LEVELS:
                ends = [left, left + len(view.words[i]) * LETTER]
                ax.plot(ends, [base - 0.05] * 2, transform=place, color=colour, linewidth=1.2)
    ax.set_axis_off()
    key = f"red: for, up to {number(scale.limit)}" + ("; blue, underlined: against" if signed else "")
    ax.text(0, -(len(lines) + 1) * LINE, key, transform=place, fontsize=8)
    if title:
        ax.set_title(title, loc="left")
    return figure


WIDTH = 84  # letters of a line of a drawn text
LETTER, LINE = 0.0919, 0.3  # inches: the width of an 11-point letter of fixed width, the distance of two lines


def size_of(view: Words) -> tuple[float, float]:
    """Inches that a drawn text takes with its title and legend."""
    return (WIDTH + 4) * LETTER, LINE * (len(wrap(view)) + 2.5)


def wrap(view: Words) -> list[list[tuple[int, int]]]:
    """Lines of (column, index of the word)."""
    lines: list[list[tuple[int, int]]] = [[]]
    x = 0
    for i, word in enumerate(spaced(view.words)):
        bare = word.lstrip(" ")
        if x and x + len(word) > WIDTH:
            lines.append([])
            x = 0
        x += (len(word) - len(bare)) if x else 0
        lines[-1].append((x, i))
        x += len(bare)
    return lines
