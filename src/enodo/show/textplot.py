"""A text drawn with matplotlib, from the top left of the axes in lines of letters of equal width."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.show.fonts import base_letters, fonts_for
from enodo.show.lines import UNREAD, Piece, lines, width
from enodo.show.scale import AGAINST, FOR, Scale, number, scale_of
from enodo.show.tokens import Array, Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 84  # letters of a line of a drawn text
FACTS = 108  # letters of a line of small print
LETTER, LINE = 0.602 * 11 / 72, 0.3  # inches: the width of an 11-point letter of equal width, the distance of two lines
SINGLE = 600  # words that are drawn one by one: with more, all that are the same letter are drawn at once
MOST = 1000  # lines that are drawn: with more, a picture could not be opened
DEEPEST = 0.55  # opacity of the strongest ground, under which letters can be read
STEPS = 40  # colours of the legend
PAPER = {False: ("#ffffff", "#1c2127", "#56606b"), True: ("#1b1f24", "#e9ebee", "#a6afb9")}  # ground, ink, small print
ENDS = {False: (FOR, AGAINST), True: ((239, 101, 96), (92, 160, 226))}  # on white, on black: as in the style sheet


def draw(
    view: Words, ax: Axes | None = None, *, signed: bool = True, title: str = "", clip: float = 0.0,
    limit: float | None = None, colours: str | None = None, unit: str = "",
) -> Figure:  # fmt: skip
    """Draw a text and return the Figure; `colours` is "dark" for dark pages."""
    from enodo.show.axes import new_axes

    if colours not in (None, "dark", "light"):
        refuse("colours", repr(colours), "'light' or 'dark' for words")
    scale = scale_of(np.append(view.values, 0.0), clip, signed, limit)
    page = Page(view, ax if ax is not None else new_axes(size_of(view)), scale, colours == "dark")
    page.text()
    page.legend(unit)
    if title:
        page.ax.set_title(title, loc="left", color=page.ink, parse_math=False)
    page.ax.set_axis_off()
    if page.dark:
        page.figure.set_facecolor(page.paper)
    return page.figure


def size_of(view: Words) -> tuple[float, float]:
    """Inches that a drawn text takes with title and legend."""
    count = min(MOST, len(lines(view, COLUMNS)) + len(_facts(view)))
    return (COLUMNS + 4) * LETTER, LINE * (count + 3.5)


def _facts(view: Words) -> list[str]:
    """What is told of a text, in lines that fit."""
    told = [f"{name}: {value}" for name, value in (view.facts.told() if view.facts else [])]
    out: list[str] = []
    for part in told:
        if out and len(out[-1]) + len(part) + 3 <= FACTS:
            out[-1] += "   " + part
        else:
            out.append(part)
    return out


class Page:
    """Axes on which a text is drawn, measured in inches from their top left corner."""

    def __init__(self, view: Words, ax: Axes, scale: Scale, dark: bool) -> None:
        from matplotlib.transforms import ScaledTranslation

        self.view, self.ax, self.scale, self.dark = view, ax, scale, dark
        self.paper, self.ink, self.small = PAPER[dark]
        self.figure: Any = ax.figure
        self.place: Any = self.figure.dpi_scale_trans + ScaledTranslation(0, 1, ax.transAxes)  # type: ignore[arg-type]
        self.y = 0.0  # lines so far
        self.families, self.missing = fonts_for("".join([*view.words, *view.leads, view.after]))
        self.blank = str.maketrans(dict.fromkeys(self.missing, "\u25a1"))  # and the legend says how many
        self.plain = base_letters()[0]
        self.many = len(view.words) > SINGLE
        self.whole = 0  # pieces drawn one by one
        self.boxes: list[Any] = []  # corners, colour
        self.underlines: list[Any] = []
        self.glyphs: dict[tuple[str, bool], list[tuple[float, float]]] = {}

    def text(self) -> None:
        """Draw what is told of the text, and the text."""
        for told in _facts(self.view):
            self.y += 1
            self._write(0, told, self.small, family="DejaVu Sans", size=8.5)
        found = lines(self.view, COLUMNS)
        shares = np.nan_to_num(self.scale.share(self.view.values))
        left = 0
        for n, line in enumerate(found):
            if self.y >= MOST or self.whole > SINGLE:
                left = len({p.word for rest in found[n:] for p in rest})
                break
            self.y += 1
            for piece in line:
                self._piece(piece, shares)
        self._collect()
        if left:
            self.y += 1
            self._write(0, f"{left:,} more words are not drawn: to_html() shows them all.", self.small, size=8.5)

    def _piece(self, piece: Piece, shares: Array) -> None:
        share = 0.0 if piece.word == UNREAD else float(shares[piece.word])
        x, y = piece.column * LETTER, -self.y * LINE
        right = x + piece.width * LETTER
        if share:
            colour = np.array(ENDS[self.dark][int(share < 0)]) / 255
            box = [(x, y - 0.06), (right, y - 0.06), (right, y + 0.165), (x, y + 0.165)]
            self.boxes.append((box, (*colour, DEEPEST * abs(share))))
            if share < -0.05:
                self.underlines.append(([(x, y - 0.045), (right, y - 0.045)], colour))
        unread = piece.word == UNREAD
        if self.many and all(map(self._stands_alone, piece.text)):
            for c in piece.text.translate(self.blank):
                self.glyphs.setdefault((c, unread), []).append((x, y))
                x += width(c) * LETTER
        else:
            self.whole += 1
            self._write(x, piece.text, self.small if unread else self.ink)

    def _stands_alone(self, c: str) -> bool:
        """Whether a letter looks the same whatever stands beside it."""
        if unicodedata.bidirectional(c) in ("R", "AL"):
            return False
        return (ord(c) in self.plain and width(c) == 1) or (width(c) == 2 and c.isalpha())

    def _write(self, x: float, text: str, colour: str, family: Any = None, size: float = 11) -> None:
        self.ax.text(
            x, -self.y * LINE, text.translate(self.blank), transform=self.place, family=family or self.families,
            fontsize=size, color=colour, parse_math=False,
        )  # fmt: skip

    def _collect(self) -> None:
        """Draw the grounds, underlines and letters gathered, all of a kind at once."""
        from matplotlib.collections import LineCollection, PathCollection, PolyCollection
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextPath
        from matplotlib.transforms import Affine2D

        corners, colours = zip(*self.boxes, strict=True) if self.boxes else ((), ())
        grounds = PolyCollection(corners, facecolors=colours, linewidths=0, transform=self.place, zorder=0)
        marks, inks = zip(*self.underlines, strict=True) if self.underlines else ((), ())
        under = LineCollection(marks, colors=inks, linewidths=1.2, transform=self.place)
        found: list[Any] = [grounds, under]
        font = FontProperties(family=self.families)
        points: Any = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans
        for (letter, unread), where in self.glyphs.items():
            path = TextPath((0, 0), letter, size=11, prop=font)
            drawn = PathCollection([path], offsets=where, offset_transform=self.place, linewidths=0,
                                   facecolors=self.small if unread else self.ink)  # fmt: skip
            drawn.set_transform(points)
            drawn.set_snap(False)
            found.append(drawn)
        for collection in found:
            collection.set_clip_on(False)
            self.ax.add_collection(collection, autolim=False)

    def legend(self, unit: str) -> None:
        """A strip of the colours with its numbers, and what the underline means."""
        from matplotlib.collections import PolyCollection

        self.y += 1
        shares = np.linspace(-1 if self.scale.signed else 0, 1, STEPS)
        edges = np.linspace(0, 24 * LETTER, STEPS + 1)
        top, bottom = -self.y * LINE + 0.1, -self.y * LINE
        boxes = [[(a, bottom), (b, bottom), (b, top), (a, top)] for a, b in itertools.pairwise(edges)]
        colours = [(*np.array(ENDS[self.dark][int(s < 0)]) / 255, DEEPEST * abs(s)) for s in shares]
        strip = PolyCollection(boxes, facecolors=colours, linewidths=0, transform=self.place, clip_on=False)
        self.ax.add_collection(strip, autolim=False)
        limit = number(self.scale.limit, self.scale.signed)
        low = f"{number(-self.scale.limit)} against (underlined)" if self.scale.signed else "0 weak"
        told = f"{low} \u2190 0 \u2192 {limit} for" if self.scale.signed else f"{low} \u2192 {limit} strong"
        told += f", {unit} per word" if unit else ""
        self._write(25 * LETTER, told, self.small, family="DejaVu Sans", size=8)
        for remark in self._remarks():
            self.y += 0.7
            self._write(0, remark, self.small, family="DejaVu Sans", size=8)

    def _remarks(self) -> Iterator[str]:
        missing = int(np.isnan(self.view.values).sum())
        if missing:
            yield f"{missing:,} values are not a number; those words are drawn without colour."
        if self.scale.peak == 0 and not missing:
            yield "Every value is zero: no word moved this score."
        if self.missing:
            yield f"No installed font has {len(self.missing):,} of the letters; to_html() leaves them to the browser."
