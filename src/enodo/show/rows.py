"""Rows of a table: attributions of named features, with the values that the features had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from enodo.core.errors import nearest, refuse
from enodo.show.scale import Array


@dataclass(frozen=True)
class Column:
    """The values of a feature as numbers (B,); `words` are the categories that 0, 1, 2 ... stand for, if any."""

    numbers: Array
    words: list[str]

    @property
    def shades(self) -> Array:
        """0 .. 1 from low to high; the outermost 2 % on either side do not stretch the scale."""
        finite = self.numbers[np.isfinite(self.numbers)]
        low, high = np.quantile(finite, [0.02, 0.98]) if len(finite) else (0.0, 0.0)
        if low == high and len(finite):
            low, high = finite.min(), finite.max()
        return np.asarray(np.clip((self.numbers - low) / ((high - low) or 1.0), 0, 1))


@dataclass(frozen=True)
class Table:
    """Attributions (B, F) of F named features in B rows, with the features' values and the scores (B,) where known.

    `rows` names the rows, where they have names: the tokens of a text.
    """

    values: Array
    names: list[str]
    data: list[Column] | None = None
    scores: Array | None = None
    rows: list[str] | None = None

    @property
    def part(self) -> str:
        """What a column is."""
        return "feature" if self.rows is None else "unit"

    def strongest(self, count: int) -> Array:
        """Features by the mean size of their attributions."""
        size = np.where(np.isfinite(self.values), np.abs(self.values), 0).mean(0)
        return np.argsort(-size, kind="stable")[:count]

    def index(self, feature: Any, argument: str) -> int:
        """A feature by its name or its position."""
        if isinstance(feature, str) and feature in self.names:
            return self.names.index(feature)
        if isinstance(feature, int) and -len(self.names) <= feature < len(self.names):
            return feature % len(self.names)
        expected = f"one of {len(self.names):,} features, by name or position"
        refuse(argument, repr(feature), expected, nearest(str(feature), self.names))


def column(values: Any) -> Column:
    """A column of numbers, of booleans or of words; words are numbered in alphabetical order."""
    values = np.asarray(values)
    try:
        return Column(values.astype(np.float64), [])
    except (TypeError, ValueError):
        words, index = np.unique([str(v) for v in values], return_inverse=True)
        return Column(index.astype(np.float64), [str(w) for w in words])
