"""Baselines drawn from the product of per-feature choices."""

from __future__ import annotations

import random
from typing import Any

from enodo.core.errors import BadType, refuse


class ProductBaselines:
    """Draw a baseline feature by feature, each from its own list of values, independently.

    `baseline_values` is a list of lists, which gives a list a draw, or a mapping from a feature's name to its list of
    values, which gives a dict. A tuple of names is drawn jointly: its values are tuples, one entry a name.
    """

    def __init__(self, baseline_values: list[list[Any]] | dict[str | tuple[str, ...], list[Any]]) -> None:
        if not isinstance(baseline_values, (list, dict)):
            refuse("baseline_values", baseline_values, "a list of lists or a dict of lists", kind=BadType)
        self.dict_keys = list(baseline_values) if isinstance(baseline_values, dict) else []
        values = baseline_values.values() if isinstance(baseline_values, dict) else baseline_values
        self.baseline_values = [list(choices) for choices in values]
        for i, choices in enumerate(self.baseline_values):
            where = repr(self.dict_keys[i]) if self.dict_keys else str(i)
            if not choices:
                refuse(f"baseline_values[{where}]", "an empty list", "at least one value to draw")
            for value in choices if self.dict_keys and isinstance(self.dict_keys[i], tuple) else ():
                if not isinstance(value, tuple) or len(value) != len(self.dict_keys[i]):
                    refuse(f"baseline_values[{where}]", value, f"tuples of {len(self.dict_keys[i])} values, one a name")

    def sample(self) -> list[Any] | dict[str, Any]:
        """One baseline, from Python's global generator (`random.seed` governs it)."""
        drawn = [random.choice(choices) for choices in self.baseline_values]
        if not self.dict_keys:
            return drawn
        out: dict[str, Any] = {}
        for key, value in zip(self.dict_keys, drawn, strict=True):
            out.update(zip(key, value, strict=True) if isinstance(key, tuple) else [(key, value)])
        return out

    def __call__(self) -> list[Any] | dict[str, Any]:
        return self.sample()
