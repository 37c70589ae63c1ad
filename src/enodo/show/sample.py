"""What a reader sees of one explained input, whatever the model it went into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from enodo.text.reading import Reading

Kind = Literal["image", "text", "table", "tensor"]


@dataclass(frozen=True)
class Sample:
    """One input in the form people know it: a photo, the words of a sentence, the named cells of a row.

    `photo` is (H, W, 3) uint8, cut and scaled as the model saw it, so that a map lies on it pixel by pixel.
    `tokens` has one entry for each column of the ids. `names` and `cells` are the features and their values in the
    reader's units; `groups[j]` is the feature that model column j belongs to where one feature fills several columns.
    """

    kind: Kind
    title: str
    photo: np.ndarray | None = None
    tokens: Sequence[str] = ()
    reading: Reading | None = None  # of a text, where its tokens stand in it
    names: Sequence[str] = ()
    cells: Sequence[str] = ()
    groups: Sequence[int] | None = None
    truth: str | None = None  # the recorded answer, where the data carry one
    note: str = ""  # what was done to the input before the model saw it
