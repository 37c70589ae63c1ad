"""Drawings with matplotlib: one of what suits the data, or panels of several rows, targets, kinds and methods."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core.errors import refuse
from enodo.core.registry import methods
from enodo.show import choose, dependence, image, layers, many, pixels, series, table, textplot, waterfall
from enodo.show.choose import Given
from enodo.show.drawing import Drawing, darken, need_matplotlib
from enodo.show.layers import Channels
from enodo.show.rows import Table
from enodo.show.scale import chosen, scale_of
from enodo.show.series import Series
from enodo.show.view import Bars, Map, one_target
from enodo.show.words import is_signed, scalar, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from enodo.core.result import Attribution

MOST_PANELS = 64
DEFAULT = {Map: "overlay", Series: "individual", Bars: "bar", Channels: "channels"}


@dataclass(frozen=True)
class Panel:
    """One drawing among others: the attribution of one target, its row, what is drawn of it, and how."""

    attribution: Attribution
    view: Any
    kind: str
    row: int
    options: dict[str, Any]

    @property
    def axes(self) -> int:
        """How many axes it takes, one below the other."""
        return series.panels_of(self.view, self.kind) if isinstance(self.view, Series) else 1

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the panel."""
        view, shown = self.view, self.options.get("shown")
        if isinstance(view, Map):
            return image.size_of(view)
        if isinstance(view, Series):
            return series.size_of(view, self.kind)
        if isinstance(view, Table):
            return many.size_of(view, self.kind, shown or many.SHOWN)
        if isinstance(view, Channels):
            return layers.size_of(view, shown or layers.SHOWN)
        return table.size_of(view, shown or table.SHOWN) if isinstance(view, Bars) else textplot.size_of(view)

    @property
    def values(self) -> np.ndarray:
        """What the colours of the panel are scaled to."""
        values = self.view.values
        if isinstance(self.view, Map):
            values = pixels.ready(self.view, self.kind)[0].values
        elif isinstance(self.view, Series) and self.kind == "combined":
            values = values.sum(0)
        return chosen(np.asarray(values), self.options.get("sign", "all"))

    def draw(self, axes: list[Axes]) -> None:
        """Draw on as many axes as the panel takes."""
        draw: Any = drawing_of(self.view, self.kind)
        known = inspect.signature(draw).parameters
        given = dict(self.options)
        a = self.attribution
        if "signed" in known:
            given.setdefault("signed", is_signed(a, np.asarray(self.view.values)))
        if "unit" in known:
            given.setdefault("unit", unit_of(a))
        if "kind" in known:
            given["kind"] = self.kind
        if self.kind == "waterfall":
            given.setdefault("start", scalar(a.baseline_scores, self.row))
            given.setdefault("end", scalar(a.scores, self.row))
        draw(self.view, axes if isinstance(self.view, Series) else axes[0], **given)


def drawing_of(view: Any, kind: str) -> Any:
    """The function that draws this kind of view."""
    if isinstance(view, Table):
        drawings = {"mean": many.mean, "beeswarm": many.beeswarm, "heatmap": many.heatmap}
        return drawings.get(kind, dependence.draw)
    if isinstance(view, Bars):
        return waterfall.draw if kind == "waterfall" else table.draw
    if isinstance(view, Channels):
        return layers.draw
    return {Map: image.draw, Series: series.draw}.get(type(view), textplot.draw)


def plot(
    attribution: Attribution | Sequence[Attribution],
    *,
    kind: str | Sequence[str] | None = None,
    row: int | Sequence[int] | str = 0,
    target: int | Sequence[int] | str = 0,
    data: Any = None,
    sample: Any = None,
    channels: str | None = None,
    ax: Any = None,
    one_scale: bool = False,
    dark: bool = False,
    **options: Any,
) -> Drawing:
    """Draw with matplotlib what suits the data; several of anything are drawn as panels. Nothing is put on a screen.

    attribution  one, or several to be compared
    kind         of pictures "overlay", "map", "regions", "original", "masked", "alpha"; of time series "individual",
                 "combined", "line"; of layers "channels"; of rows "bar", "waterfall"; of many rows "mean",
                 "beeswarm", "heatmap", "dependence"; None: by labels and shape
    row, target  positions, "all" or several
    data         what was explained, as a reader knows it: the picture (or a batch), the series, the values of features;
                 for "channels", what the layer computed
    channels     "first" or "last", where the shape does not tell
    ax           axes to draw on, as many as there are panels
    one_scale    the same colours for the same values in all panels
    dark         light letters on a dark ground
    options      of the drawing: `image.draw`, `series.draw`, `table.draw`, `waterfall.draw`, `many.mean`,
                 `many.beeswarm`, `many.heatmap`, `dependence.draw`, `layers.draw`, `textplot.draw`

    Returns (figure, axes).
    """
    need_matplotlib()
    given: list[Any] = list(attribution) if isinstance(attribution, (list, tuple)) else [attribution]
    kinds: list[Any] = [kind] if kind is None or isinstance(kind, str) else list(kind)
    if not given or not kinds:
        refuse("attribution" if not given else "kind", "an empty list", "at least one")
    grid = [
        [panel for k in kinds for panel in _panels(each, k, row, target, Given(data, sample, channels), options)]
        for each in given
    ]
    panels = [panel for line in grid for panel in line]
    if len(panels) > MOST_PANELS:
        refuse("row, target or kind", f"{len(panels):,} panels", f"at most {MOST_PANELS}", "Name the ones to be drawn.")
    _title(panels, len(given) > 1, len(kinds) > 1, options)
    if one_scale:
        _share_scale(panels)
    for panel in panels:
        for name, value in {"colours": "dark", "dark": True}.items() if dark else ():
            if name in inspect.signature(drawing_of(panel.view, panel.kind)).parameters:
                panel.options.setdefault(name, value)
    across = len(kinds) if 1 < len(kinds) < len(panels) else None
    drawn = _drawn(panels, ax, across)
    if dark:
        darken(drawn.figure)
    return drawn


def _positions(asked: Any, count: int, argument: str) -> list[int]:
    if isinstance(asked, str) and asked == "all":
        return list(range(count))
    found = list(asked) if isinstance(asked, (list, tuple, range)) else [asked]
    for i in found:
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not -count <= i < count:
            refuse(argument, repr(i), f"'all', or positions among the {count:,} {argument}s, from 0")
    return [int(i) for i in found]


def _panels(
    attribution: Attribution, kind: str | None, row: Any, target: Any, given: Given, options: dict[str, Any]
) -> list[Panel]:
    """The panels of one attribution and kind: a row, a target and a tensor each."""
    choose.check_kind(kind)
    several = attribution.scores is not None and attribution.scores.ndim > 1
    targets = _positions(target, len(attribution.scores), "target") if several else [0]  # type: ignore[arg-type]
    out = []
    for t in targets:
        for name, one in choose.parts_of(one_target(attribution, t)):
            count = len(one.tensor) if one.tensor.ndim else 0
            if count == 0:
                refuse("attribution", f"shape {tuple(one.tensor.shape)}: no rows", "at least one row")
            rows = _positions(row, count, "row")
            many_rows = kind in choose.OF_ROWS or (
                kind is None and len(rows) > 1 and one.tensor.ndim == 2 and one.tokens is None)  # fmt: skip
            if many_rows:
                view: Any = choose.table_for(one, rows[0], None if isinstance(row, int) else rows, given)
                found = [(rows[0], view, kind or "beeswarm")]
            else:
                found = [(r, choose.view_for(one, r, kind, given), kind or "") for r in rows]
            for r, view, asked in found:
                k = asked or DEFAULT.get(type(view), "text")
                choose.check_options(drawing_of(view, k), options, k)
                titled = len(targets) > 1 or name or (len(found) > 1 and attribution.class_names)
                words = [name, choose.class_of(attribution, t, r) if titled else ""]
                told = [w for w in (*words, f"row {r}" if len(found) > 1 else "") if w]
                own = {"segments": choose.segments_of(options["segments"], r, count)} if "segments" in options else {}
                out.append(Panel(one, view, k, r, {**options, **own, "title": ", ".join(told)}))
    return out


def _title(panels: list[Panel], several: bool, kinds: bool, options: dict[str, Any]) -> None:
    """Titles: what tells the panels apart; of a single one, the method and the class."""
    for panel in panels:
        a = panel.attribution
        told = [panel.options["title"]]
        if kinds:
            told.insert(0, panel.kind)
        if several or not any(told):
            told.insert(0, title_of(a))
        if len(panels) == 1 and (name := choose.class_of(a, 0, panel.row)):
            told.append(f"for \u201c{name}\u201d")
        given = options.get("title")
        panel.options["title"] = ", ".join(filter(None, told)) if given is None or len(panels) > 1 else given


def title_of(attribution: Attribution) -> str:
    """The method's name as people write it."""
    about = methods().get(attribution.method)
    return about.title if about else attribution.method.replace("_", " ") or "Attribution"


def _share_scale(panels: list[Panel]) -> None:
    """One limit for all panels: the largest of theirs."""
    limits = [scale_of(p.values, p.options.get("clip", 0.02 if isinstance(p.view, Map) else 0.0)).limit for p in panels]
    if max(limits) > 0:
        for panel in panels:
            if "limit" in inspect.signature(drawing_of(panel.view, panel.kind)).parameters:
                panel.options["limit"] = max(limits)


def _drawn(panels: list[Panel], ax: Any, across: int | None) -> Drawing:
    """The panels on axes of a new figure, or on those given."""
    needed = sum(panel.axes for panel in panels)
    if ax is not None:
        flat = list(np.ravel(np.array(ax, dtype=object)))
        if len(flat) != needed:
            refuse("ax", f"{len(flat)} axes", f"{needed}, one for each panel")
        cut = iter(flat)
        for panel in panels:
            panel.draw([next(cut) for _ in range(panel.axes)])
        return Drawing(flat[0].figure, flat[0] if needed == 1 else flat)
    from matplotlib.figure import Figure

    sizes = np.array([panel.size for panel in panels])
    wide = bool((sizes[:, 0] > 1.6 * sizes[:, 1]).all())
    columns = across or (1 if wide else min(len(panels), 4 if len(panels) > 6 else 3))
    lines = -(-len(panels) // columns)
    shrink = 0.75 if columns > 2 else 1.0
    figure = Figure(
        figsize=(sizes[:, 0].max() * columns * shrink, sizes[:, 1].max() * lines * shrink), layout="constrained"
    )
    grid: Any = figure.add_gridspec(lines, columns)
    made: list[Axes] = []
    for i, panel in enumerate(panels):
        place = grid[i // columns, i % columns].subgridspec(panel.axes, 1, hspace=0)
        axes = list(np.ravel(place.subplots(sharex=True)))
        panel.draw(axes)
        made += axes
    return Drawing(figure, made[0] if len(made) == 1 else made)
