"""Summaries by class."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor

from enodo.captum.attr._utils.stat import Stat
from enodo.captum.attr._utils.summarizer import Summarizer, Summary
from enodo.core.errors import refuse


class ClassSummarizer(Summarizer):
    """A `Summarizer` that also keeps one summary a class, and one over all."""

    def __init__(self, stats: list[Stat]) -> None:
        super().__init__(stats)
        self.summaries: dict[Any, Summarizer] = defaultdict(lambda: Summarizer(stats=self._copy_stats()))

    def update(  # type: ignore[override]  # the labels are what a class summary is about
        self, x: Tensor | tuple[Tensor, ...], labels: Any = None
    ) -> None:
        """Take in a batch `x` (B, ...): one label for all of it, or one a row (a number or a tuple each).

        Without labels the whole batch counts as one value of the overall summary.
        """
        entries = x if isinstance(x, tuple) else (x,)
        if labels is None:
            return super().update(entries)
        rows = entries[0].shape[0]
        keys = _keys(labels)
        if len(keys) not in (1, rows):
            refuse("labels", f"{len(keys)} labels", f"one label, or one for each of the {rows} rows")
        for row, key in enumerate(keys * rows if len(keys) == 1 else keys):
            one = tuple(entry[row].clone() for entry in entries)
            self.summaries[key].update(one)
            super().update(one)

    @property
    def class_summaries(self) -> dict[Any, Summary | list[Summary] | None]:
        """{label: summary}."""
        return {key: summarizer.summary for key, summarizer in self.summaries.items()}


def _keys(labels: Any) -> list[Any]:
    """One hashable label a row: tensors become numbers, since two equal tensors are two dictionary keys."""
    labels = labels.tolist() if isinstance(labels, Tensor) else labels
    if not isinstance(labels, list):
        return [labels]
    plain = (label.tolist() if isinstance(label, Tensor) else label for label in labels)
    return [tuple(label) if isinstance(label, list) else label for label in plain]
