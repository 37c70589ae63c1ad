"""What there is to draw of one row of an Attribution: a map, words or bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core import tree as trees
from enodo.core.errors import refuse
from enodo.core.registry import methods
from enodo.show.sample import Sample
from enodo.show.tokens import Words, facts_of, reading_of, words_in, words_of

if TYPE_CHECKING:
    from enodo.core.result import Attribution

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Map:
    """Attributions of a picture, summed over channels, (h, w) at their own resolution; `photo` (H, W, 3) or None.

    `note` is what a reader must know about the photo: that its values were stretched to be seen. `shared`: pixels that
    were switched off together all carry what they contributed together, so that sums over pixels mean nothing.
    """

    values: Array
    photo: Array | None
    note: str = ""
    shared: bool = False


@dataclass(frozen=True)
class Bars:
    """Attributions of named features, with the features' values as text ("" where unknown)."""

    names: list[str]
    cells: list[str]
    values: Array  # (F,)


View = Map | Bars | Words


def view_of(attribution: Attribution, sample: Sample | None = None, row: int = 0) -> View:
    """The view of `row`: words or named features where their number fits, a map for (C, H, W), else entries by index.

    Without a `sample` the labels set on the attribution itself are used.
    """
    values = row_of(attribution, row)
    reading = sample.reading if sample else reading_of(attribution, row)
    if reading is not None and values.ndim in (1, 2) and len(values) >= len(reading.tokens):
        known = values.reshape(len(values), -1).sum(1)[: len(reading.tokens)].tolist()
        return words_in(reading, known, facts_of(attribution, row))
    tokens = list(sample.tokens) if sample else labels(attribution.tokens, row)
    names = list(sample.names) if sample else labels(attribution.feature_names, None)
    if tokens and values.ndim in (1, 2) and len(values) == len(tokens):
        return words_of(tokens, values.reshape(len(tokens), -1).sum(1))
    if names and values.ndim == 1:
        groups = list(sample.groups) if sample and sample.groups is not None else list(range(len(names)))
        if len(groups) == len(values):
            cells = list(sample.cells) if sample and sample.cells else [""] * len(names)
            return Bars(names, cells, np.bincount(groups, values, len(names)))
    if values.ndim == 3 or (values.ndim == 2 and min(values.shape) > 3):
        flat, shared = over_channels(attribution, values)
        return Map(flat, sample.photo if sample else None, shared=shared)
    flat = values.ravel()
    if len(names) != len(flat):
        names = ["value"] if values.ndim == 0 else [", ".join(map(str, i)) for i in np.ndindex(*values.shape)]
    return Bars(names, [""] * len(names), flat)


def over_channels(attribution: Attribution, values: Array) -> tuple[Array, bool]:
    """A map (h, w) of (h, w) or (C, h, w), and whether it is `shared`: channels are added up unless they share too."""
    channels = values.reshape(-1, *values.shape[-2:])
    card = methods().get(attribution.method)
    masks = card is not None and "cells" in card.claims
    together = masks or attribution.options.get("features") is not None or "window" in attribution.options
    shared = together and bool((channels == channels[:1]).all())
    return channels[0] if shared or len(channels) == 1 else channels.sum(0), shared


def one_target(attribution: Attribution, index: int) -> Attribution:
    """The attribution of one of several targets; itself if there is one only."""
    if attribution.scores is None or attribution.scores.ndim < 2:
        return attribution
    count = len(attribution.scores)
    if not -count <= index < count:
        refuse("target", str(index), f"the position of one of the {count} targets, from 0")

    def pick(tree: Any) -> Any:
        return trees.map_tree(lambda leaf: leaf[index] if hasattr(leaf, "ndim") and leaf.ndim else leaf, tree)

    parts = ("values", "scores", "baseline_scores", "delta", "stderr", "error")
    target = attribution.target
    target = index % count if target == "all" else target[index] if isinstance(target, list) else target
    return replace(attribution, target=target, **{name: pick(getattr(attribution, name)) for name in parts})


def row_of(attribution: Attribution, row: int) -> Array:
    """The attributions of one row as float64; the only floating-point tensor, or the only one that is not all zero."""
    found = [leaf for _, leaf in trees.leaves(attribution.values) if hasattr(leaf, "detach")]
    strong = [leaf for leaf in found if bool((leaf != 0).any())]
    if len(found) != 1 and len(strong) != 1:
        refuse("attribution", f"{len(found)} tensors", "a single one to draw", "Explain one input or layer at a time.")
    tensor = found[0] if len(found) == 1 else strong[0]
    if tensor.ndim == 0 or not -len(tensor) <= row < len(tensor):
        refuse("row", str(row), f"a row of values of shape {tuple(tensor.shape)}")
    return np.asarray(tensor[row].detach().to("cpu").double().numpy())


def labels(given: Any, row: int | None) -> list[str]:
    """Labels as a list of strings; of one list per row, the list of `row`."""
    given = list(given) if given is not None else []
    if given and not isinstance(given[0], str) and row is not None:
        given = list(given[row])
    return [str(label) for label in given]


def resize(values: Array, size: tuple[int, int]) -> Array:
    """A map (h, w) brought to (H, W) pixels for display, smoothly; the values stay those of its own pixels."""
    from PIL import Image

    if values.shape == size:
        return values
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.float64)


def regions(values: Array, cells: int = 14) -> Array:
    """Sums over about `cells` x `cells` equal squares of a map: its large-scale picture, of the same total."""
    height, width = values.shape
    rows, columns = np.arange(height) * min(cells, height) // height, np.arange(width) * min(cells, width) // width
    out = np.zeros((rows[-1] + 1, columns[-1] + 1))
    np.add.at(out, (rows[:, None], columns[None, :]), values)
    return out
