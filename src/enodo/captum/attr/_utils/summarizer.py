"""Summaries of a stream of attributions: one tensor, or a tuple of tensors, an update."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from enodo.captum.attr._utils.stat import Stat, StatValue
from enodo.core.errors import BadType, refuse

Summary = dict[str, StatValue | None]


class SummarizerSingleTensor:
    """Statistics of one stream of tensors; the summary shows those at `summary_stats_indices` of `stats`."""

    def __init__(self, stats: list[Stat], summary_stats_indices: list[int]) -> None:
        self._kept: dict[Stat, Stat] = {}
        self._order: list[Stat] = []  # what another leans on comes before it
        wanted = [self._add(stat) for stat in stats]
        self._shown = [wanted[i] for i in summary_stats_indices]

    def _add(self, stat: Stat) -> Stat:
        kept = self._kept.setdefault(stat, stat)
        if kept is not stat and stat.name == kept.name:
            return kept
        stat._owner = self
        stat.init()
        self._order.append(stat)
        return stat

    def provide(self, stat: Stat) -> Stat:
        """The kept statistic equal to `stat`, which is added where there is none yet."""
        return self._kept[stat] if stat in self._kept else self._add(stat)

    def update(self, x: Tensor) -> None:
        for stat in self._order:
            stat.update(x)

    def get(self, stat: Stat) -> Stat | None:
        """The kept statistic equal to `stat`, or None."""
        return self._kept.get(stat)

    @property
    def summary(self) -> Summary:
        """{name: value} of the statistics shown."""
        return {stat.name: stat.get() for stat in self._shown}


class Summarizer:
    """`stats` of each tensor of a stream, e.g. of the attributions of many batches."""

    def __init__(self, stats: list[Stat]) -> None:
        for stat in stats:
            if not isinstance(stat, Stat):
                refuse("stats", stat, "instances of Stat", "Write Summarizer([Mean(), Count()]).", kind=BadType)
        self._stats = stats
        self._summarizers: list[SummarizerSingleTensor] = []
        self._is_inputs_tuple: bool | None = None

    def _copy_stats(self) -> list[Stat]:
        return deepcopy(self._stats)

    def update(self, x: float | Tensor | tuple[float | Tensor, ...]) -> None:
        """Take in one more value of each stream; a tuple is several streams, numbered by position."""
        entries = x if isinstance(x, tuple) else (x,)
        if self._is_inputs_tuple is None:
            self._is_inputs_tuple = isinstance(x, tuple)
            every = list(range(len(self._stats)))
            self._summarizers = [SummarizerSingleTensor(self._copy_stats(), every) for _ in entries]
        elif self._is_inputs_tuple != isinstance(x, tuple) or len(entries) != len(self._summarizers):
            first = f"a tuple of {len(self._summarizers)}" if self._is_inputs_tuple else "a single tensor"
            refuse("x", x, f"{first}, as in the first update")
        for summarizer, entry in zip(self._summarizers, entries, strict=True):
            summarizer.update(torch.as_tensor(entry, dtype=torch.float if isinstance(entry, (int, float)) else None))

    @property
    def summary(self) -> Summary | list[Summary] | None:
        """{name: value}; a list of them, one an entry, where the updates are tuples; None before the first update."""
        if not self._summarizers:
            return None
        each = [summarizer.summary for summarizer in self._summarizers]
        return each if self._is_inputs_tuple else each[0]
