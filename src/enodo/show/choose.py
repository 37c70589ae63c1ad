"""What suits an Attribution: a picture, a series, channels, rows of a table, bars or words, by its labels and shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core import tree as trees
from enodo.core.errors import nearest, refuse
from enodo.show import pixels, series
from enodo.show.layers import Channels
from enodo.show.pixels import CHANNELS, array_of, as_photo
from enodo.show.rows import Table, column
from enodo.show.sample import Sample
from enodo.show.scale import Array, number
from enodo.show.series import Series
from enodo.show.view import Bars, Map, labels, over_channels, row_of, view_of

if TYPE_CHECKING:
    from enodo.core.result import Attribution

OF_ROWS = ("mean", "beeswarm", "heatmap", "dependence")  # kinds that show many rows in one drawing
OF_ONE = ("bar", "waterfall")
KINDS = (*pixels.KINDS, *series.KINDS, "channels", *OF_ONE, *OF_ROWS, "text")


@dataclass(frozen=True)
class Given:
    """What a reader told beside the attribution: the `data` it is about, or a `sample`; where the channels lie."""

    data: Any = None
    sample: Sample | None = None
    channels: str | None = None  # "first", "last", or None: by the shape


def check_kind(kind: Any) -> None:
    """Refuse what is no kind of drawing."""
    if kind is not None and kind not in KINDS:
        refuse("kind", repr(kind), f"one of {', '.join(map(repr, KINDS))}", nearest(str(kind), KINDS))


def view_for(attribution: Attribution, row: int, kind: str | None, given: Given) -> Any:
    """The view of one row that `kind` can draw; without a kind, the one that suits the labels and the shape."""
    values = _channels_first(attribution, row_of(attribution, row), given)
    if values.size == 0:
        refuse("attribution", f"a row of shape {tuple(values.shape)}, which holds no value", "values to draw")
    if kind == "channels" or (kind is None and values.ndim == 4):
        return _channels(values, given, row)
    if kind in series.KINDS or (kind is None and _is_series(attribution, values, given)):
        return _series(attribution, values, given, row)
    if kind in pixels.KINDS or (kind is None and values.ndim == 3 and given.sample is None):
        return _map(attribution, values, given, row)
    if kind in OF_ONE:
        names = labels(attribution.feature_names, None)
        attribution = replace(attribution, tokens=None, feature_names=names if len(names) == values.size else None)
        values = values.ravel()
    view = view_of(replace(attribution, values=as_row(values, row)), given.sample, row)
    if kind == "text" and isinstance(view, (Map, Bars)):
        refuse("kind", "'text' without its tokens", "an attribution that knows its tokens", "Set its `tokens`.")
    if isinstance(view, Map) and (given.data is not None or given.sample is None):
        return _map(attribution, values, given, row)
    return _with_cells(view, given, row) if isinstance(view, Bars) and given.data is not None else view


def as_row(values: Array, row: int) -> Any:
    """A batch in which `row` has these values; the rows before it are views of it, and cost nothing."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.expand((row if row >= 0 else -row - 1) + 1, *tensor.shape)


def _channels_first(attribution: Attribution, values: Array, given: Given) -> Array:
    """Channels in front: a picture is (H, W, C) if told so, or if only its last dimension can be colours."""
    if given.channels not in (None, "first", "last"):
        refuse("channels", repr(given.channels), "'first', 'last' or None (by the shape)")
    last = given.channels == "last"
    if given.channels is None and values.ndim == 3 and attribution.wrt.startswith("INPUT"):
        last = values.shape[2] in CHANNELS and values.shape[0] not in CHANNELS
    return np.moveaxis(values, -1, 0) if last and values.ndim >= 2 else values


def _of_row(data: Any, row: int, ndim: int) -> Any:
    """The entry of `row` where `data` holds one for each row."""
    if isinstance(data, (list, tuple)) and data and hasattr(data[0], "shape"):
        return data[row]
    if np.ndim(array_of(data, "data") if not hasattr(data, "ndim") else data) > ndim:
        return data[row]
    return data


def _map(attribution: Attribution, values: Array, given: Given, row: int) -> Map:
    flat, shared = over_channels(attribution, values[None] if values.ndim == 1 else values)
    if given.data is None:
        return Map(flat, given.sample.photo if given.sample else None, shared=shared)
    data = given.data
    if not isinstance(data, (list, tuple)) and hasattr(data, "ndim") and data.ndim == 2:
        data = data[None]  # (H, W): one picture
    return Map(flat, *as_photo(_of_row(data, row, 3), flat.shape), shared=shared)


def _is_series(attribution: Attribution, values: Array, given: Given) -> bool:
    """Few channels at many times, or channels that have names."""
    if values.ndim != 2 or attribution.tokens is not None or given.sample is not None:
        return False
    names = labels(attribution.feature_names, None)
    low, high = sorted(values.shape)
    return (len(names) in values.shape and len(names) < high) or (low <= 3 and high >= 8)


def _series(attribution: Attribution, values: Array, given: Given, row: int) -> Series:
    names = labels(attribution.feature_names, None)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2:
        expected = "(C, T) or (T,): channels and times"
        refuse("attribution", f"a row of shape {tuple(values.shape)}", expected, "kind='map' draws pictures.")
    turn = given.channels is None and (len(names) == values.shape[1] or (
        len(names) != values.shape[0] and values.shape[0] > values.shape[1]))  # fmt: skip
    values = values.T if turn else values
    data = None
    if given.data is not None:
        data = array_of(_of_row(given.data, row, 2 if np.ndim(given.data) != 1 else 1), "data").astype(np.float64)
        data = data[None] if data.ndim == 1 else data
        data = data.T if data.shape != values.shape else data
        if data.shape != values.shape:
            refuse("data", f"shape {data.T.shape}", f"a series for values of shape {values.shape}")
    if len(names) != len(values):
        names = [f"channel {i}" for i in range(len(values))] if len(values) > 1 else [""]
    return Series(values, data, names, np.arange(values.shape[1], dtype=np.float64))


def _channels(values: Array, given: Given, row: int) -> Channels:
    if values.ndim == 4:  # (C, D, H, W): the slices of a volume, the frames of a film
        return Channels(values.sum(0), name="slice")
    if values.ndim != 3:
        refuse("kind", f"'channels' for a row of shape {tuple(values.shape)}", "a layer with maps: (C, h, w)")
    data = None if given.data is None else array_of(_of_row(given.data, row, 3), "data").astype(np.float64)
    if data is not None and data.shape != values.shape:
        refuse("data", f"shape {tuple(data.shape)}", f"what the layer computed: {tuple(values.shape)}")
    return Channels(values, data)


def _with_cells(view: Bars, given: Given, row: int) -> Bars:
    """The bars with the features' values beside their names."""
    cells = _cells(given.data)
    cells = cells[row] if cells.ndim > 1 else cells
    if cells.shape != (len(view.names),):
        refuse("data", f"shape {tuple(np.shape(given.data))}", f"a value for each of {len(view.names):,} features")
    told = [number(float(c), False) if isinstance(c, (int, float, np.number)) else str(c) for c in cells]
    return replace(view, cells=told)


def _cells(data: Any) -> Array:
    """Values of features, numbers or words, from a tensor, an array, lists or a DataFrame."""
    return array_of(data, "data") if hasattr(data, "detach") else np.asarray(data, dtype=object)


def table_for(attribution: Attribution, row: int, rows: list[int] | None, given: Given) -> Table:
    """All rows, or those named, with a name for each feature; of a text in vectors, the tokens of `row` by units."""
    tensor = attribution.tensor
    inside = tensor.ndim == 3
    tensor = tensor[row] if inside else tensor if rows is None else tensor[rows]
    values = tensor.detach().to("cpu").double().numpy()
    if values.ndim != 2 or 0 in values.shape:
        expected = "(rows, features) or (rows, tokens, units), at least one of each"
        refuse("attribution", f"shape {tuple(attribution.tensor.shape)}", expected)
    names = labels(attribution.feature_names, None)
    if len(names) != values.shape[1]:
        names = [f"{'unit' if inside else 'feature'} {i}" for i in range(values.shape[1])]
    if inside:
        tokens = labels(attribution.tokens, row)
        named = tokens if len(tokens) == len(values) else [str(i) for i in range(len(values))]
        return Table(values, names, rows=named)
    scores = attribution.scores
    found = None if scores is None or scores.ndim != 1 else scores.detach().to("cpu").double().numpy()
    found = found if found is None or rows is None else found[rows]
    return Table(values, names, _columns(given.data, rows, values.shape), found)


def _columns(data: Any, rows: list[int] | None, shape: tuple[int, ...]) -> Any:
    if data is None:
        return None
    cells = _cells(data)
    if cells.ndim == 2 and rows is not None and len(cells) != shape[0]:
        cells = cells[rows]
    if cells.shape != shape:
        refuse("data", f"shape {tuple(cells.shape)}", f"a value for each attribution: {tuple(shape)}")
    return [column(cells[:, j].tolist()) for j in range(shape[1])]


def segments_of(segments: Any, row: int, rows: int) -> Any:
    """The mask (H, W) of `row`, from one for all rows or one each, for all channels or one each if they are alike."""
    if segments is None or isinstance(segments, bool):
        return segments
    mask = array_of(segments, "segments")
    while mask.ndim > 2:
        if len(mask) == rows and rows > 1:
            mask = mask[row]
        elif len(mask) and bool((mask == mask[:1]).all()):
            mask = mask[0]
        else:
            refuse("segments", f"shape {tuple(mask.shape)}", f"(H, W), or one such mask for each of {rows:,} rows")
    return mask


def parts_of(attribution: Attribution) -> list[tuple[str, Attribution]]:
    """An answer of several tensors as one for each, with its name; those that are all zero are left out."""
    found = [(path, leaf) for path, leaf in trees.leaves(attribution.values) if hasattr(leaf, "detach")]
    if any(leaf.is_meta for _, leaf in found):
        refuse("attribution", "a tensor on the device 'meta', which holds no values", "values to draw")
    strong = [pair for pair in found if bool((pair[1] != 0).any())] or found[:1]
    if len(found) <= 1:
        return [("", attribution)]
    several = len(strong) > 1
    return [(trees.spell(path).strip("[]'\"") if several else "", replace(attribution, values=t)) for path, t in strong]


def class_of(attribution: Attribution, target: int, row: int) -> str:
    """The class that is explained, in words; "" where it is not known."""
    found = attribution.target
    several = attribution.scores is not None and attribution.scores.ndim > 1
    if several:
        found = found[target] if isinstance(found, (list, tuple)) and target < len(found) else target
    if isinstance(found, list):  # one for each row, or one for all
        found = found[0] if len(found) == 1 else found[row] if -len(found) <= row < len(found) else None
    names = attribution.class_names
    if isinstance(found, int) and not isinstance(found, bool):
        return str(names[found]) if names and -len(names) <= found < len(names) else f"output {found}"
    return found if isinstance(found, str) and found != "<lambda>" else ""


def check_options(draw: Callable[..., Any], options: Mapping[str, Any], kind: str) -> None:
    """Refuse an option that the drawing does not have."""
    known = inspect.signature(draw).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    offered = [n for n, p in known.items() if p.kind is p.KEYWORD_ONLY and n not in ("signed", "kind", "unit")]
    for name in options:
        if name not in offered:
            told = f"one that {kind!r} has: {', '.join(offered)}"
            refuse("options", repr(name), told, nearest(name, offered) if offered else "")
