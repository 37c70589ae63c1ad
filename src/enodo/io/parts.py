"""The parts of an input in its owner's words: squares of a photo, words of a text, columns of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from enodo.core.errors import nearest, refuse
from enodo.core.features import Features
from enodo.io.subject import Example, whole
from enodo.show.sample import Sample
from enodo.text.pieces import merged

SQUARE, SUPERPIXELS = 16, 60


@dataclass(frozen=True)
class Cut:
    """What is taken away together."""

    ids: Tensor  # whole numbers like the input (1, ...), negative for what never goes
    words: str  # of all parts, after "cut into": "196 squares of 16 x 16 pixels"

    @property
    def features(self) -> Features:
        """The same for methods."""
        if bool((self.ids >= 0).all()):
            return replace(Features.groups(self.ids), name=self.words)
        names = [[None if owner < 0 else owner for owner in row] for row in self.ids.tolist()]
        return replace(Features.tokens(names), name=self.words)

    def sizes(self, x: Tensor) -> Tensor:
        """For each value of an input the number of values that go together with it."""
        ids = self.ids.expand(1, *x.shape[1:])
        _, number, count = torch.unique(ids, return_inverse=True, return_counts=True)
        return torch.where(ids < 0, 1, count[number]).to(x.device)


def cut(text: str | None, example: Example, most: int | None = None) -> Cut:
    """The parts that `text` names: KIND, KIND:SIZE or a number of blocks; without it those that suit the input.

    These are at most `most` squares of a picture, where a method has evaluations for no more.
    """
    if not isinstance(example.inputs, Tensor):
        refuse("--features", repr(text), "a model with a single input")
    sample = example.sample
    known = KINDS[sample.kind]
    if text is None:
        text = next(iter(known))
        if most is not None and text == "squares":
            text = f"squares:{_side(example, most)}"
    if (blocks := whole(text) or 0) > 0:
        return _blocks(example.inputs, blocks)
    kind, colon, size = text.partition(":")
    if kind not in known:
        names = ", ".join(known)
        refuse("--features", repr(text), f"a number of blocks, or for this input one of {names}", nearest(kind, known))
    if colon and ((whole(size) or 0) < 1 or kind not in SIZED):
        wanted = f"{kind}:SIZE with a whole number from 1" if kind in SIZED else f"{kind} alone, which has no size"
        refuse("--features", repr(text), wanted)
    return known[kind](example, int(size) if colon else SIZED.get(kind, 0))


def is_windows(text: str | None) -> bool:
    """Whether windows are asked for, which slide and may overlap."""
    return text is not None and text.partition(":")[0] == "windows"


def windows(text: str | None, example: Example) -> tuple[int, int]:
    """(side, step) of square windows: windows, windows:SIDE or windows:SIDE:STEP; else a seventh."""
    if example.sample.kind != "image":
        refuse("--features", repr(text), f"for this input one of {', '.join(KINDS[example.sample.kind])}")
    shorter = min(example.inputs.shape[-2:])
    given = text.split(":")[1:] if text else []
    if len(given) > 2 or not all((whole(n) or 0) > 0 for n in given):
        refuse("--features", repr(text), "windows, windows:SIDE or windows:SIDE:STEP with whole numbers from 1")
    side = int(given[0]) if given else max(1, shorter // 7)
    return min(side, shorter), int(given[1]) if len(given) > 1 else max(1, side // 2)


def _blocks(x: Tensor, n: int) -> Cut:
    count = x[0].numel()
    n = min(n, count)
    return Cut((torch.arange(count) * n // count).view(1, *x.shape[1:]), f"{n} blocks of neighbouring values")


def _side(example: Example, most: int) -> int:
    """The side of the smallest squares, of at least the usual size, that are no more than `most`."""
    height, width = example.inputs.shape[-2:]
    side = SQUARE
    while -(-height // side) * -(-width // side) > most:
        side += 1
    return side


def _squares(example: Example, side: int) -> Cut:
    height, width = example.inputs.shape[-2:]
    side = min(side, max(height, width))
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    ids = rows[:, None] * (int(columns[-1]) + 1) + columns
    return Cut(ids.view(1, 1, height, width), f"{int(ids.max()) + 1} squares of {side} \u00d7 {side} pixels")


def _pixels(example: Example, size: int) -> Cut:
    height, width = example.inputs.shape[-2:]
    return Cut(torch.arange(height * width).view(1, 1, height, width), f"its {height * width:,} pixels")


def _superpixels(example: Example, count: int) -> Cut:
    """Regions of one colour (SLIC, Achanta et al. 2012, doi:10.1109/TPAMI.2012.120)."""
    from skimage.segmentation import slic

    photo = example.sample.photo
    if photo is None:
        refuse("--features", "'superpixels'", "an input with a picture to look at")
    found = np.unique(slic(photo, n_segments=count, start_label=0), return_inverse=True)[1]
    ids = torch.from_numpy(found.reshape(1, 1, *photo.shape[:2]))
    return Cut(ids, f"{int(ids.max()) + 1} regions of one colour (superpixels)")


def _tokens(example: Example, size: int) -> Cut:
    added = _owners(example.sample, "token")
    return _of_tokens(added, "tokens")


def _words(example: Example, size: int) -> Cut:
    return _of_tokens(_owners(example.sample, "word"), "words")


def _sentences(example: Example, size: int) -> Cut:
    if example.sample.reading is None:
        refuse("--features", "'sentences'", "words or tokens: where the sentences stand is not known")
    return _of_tokens(_owners(example.sample, "sentence"), "sentences")


def _owners(sample: Sample, level: str) -> list[int | None]:
    """For each token the unit it belongs to; None for those that the tokenizer added."""
    if sample.reading is not None:
        return sample.reading.owners(level)
    found = merged(list(sample.tokens))
    own = found.owner if level == "word" else range(len(sample.tokens))
    return [None if found.added[word] else unit for word, unit in zip(found.owner, own, strict=True)]


def _of_tokens(owners: list[int | None], units: str) -> Cut:
    ids = torch.tensor([[-1 if owner is None else owner for owner in owners]])
    count = len({owner for owner in owners if owner is not None})
    return Cut(ids, f"its {count} {units}")


def _columns(example: Example, size: int) -> Cut:
    groups = example.sample.groups
    ids = torch.arange(example.inputs[0].numel()) if groups is None else torch.tensor(list(groups))
    return Cut(ids.view(1, *example.inputs.shape[1:]), f"its {int(ids.max()) + 1} columns")


def _values(example: Example, size: int) -> Cut:
    x = example.inputs
    return Cut(torch.arange(x[0].numel()).view(1, *x.shape[1:]), f"its {x[0].numel()} values")


SIZED = {"squares": SQUARE, "superpixels": SUPERPIXELS}
Cutter = Callable[[Example, int], Cut]
KINDS: dict[str, dict[str, Cutter]] = {
    "image": {"squares": _squares, "superpixels": _superpixels, "pixels": _pixels},
    "text": {"words": _words, "tokens": _tokens, "sentences": _sentences},
    "table": {"columns": _columns},
    "tensor": {"values": _values},
}
