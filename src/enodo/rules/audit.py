"""`audit`: what a table of rules makes of a model, operation by operation, before anything is explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from enodo.core.draws import Drew
from enodo.core.explain import ask
from enodo.core.operations import Spot
from enodo.core.rules import Rules
from enodo.core.tables import Table

from .rescale import RESCALE


@dataclass(frozen=True)
class Coverage:
    """The operations that one forward pass does on the path of gradients, with how a table treats each.

    `calls` counts (operation, kind, Spot); the kinds are "linear" (its own gradient is right), "ruled", "decomposed"
    (done by simpler operations), "plain" (its own gradient is taken) and "unknown" (refused).
    """

    calls: Counter[tuple[str, str, Spot]]

    @property
    def unknown(self) -> list[tuple[str, Spot]]:
        """What stands in the way of an explanation."""
        return [(name, spot) for name, kind, spot in self.calls if kind == "unknown"]

    @property
    def complete(self) -> bool:
        """Whether every operation is treated."""
        return not self.unknown

    def rows(self) -> list[dict[str, Any]]:
        """A row for each operation and line of code, in the order of the pass."""
        return [
            {"operation": name, "kind": kind, "module": spot.module, "file": spot.file, "line": spot.line, "calls": n}
            for (name, kind, spot), n in self.calls.items()
        ]

    def __str__(self) -> str:
        lines = [f"{'operation':24} {'treated as':11} {'calls':>5}  module and line"]
        for (name, kind, spot), n in self.calls.items():
            lines.append(f"{name:24} {kind:11} {n:5}  {spot.module or '-'} ({spot.file}:{spot.line})")
        kinds = Counter[str]()
        for (_, kind, _), n in self.calls.items():
            kinds[kind] += n
        lines.append(f"{kinds.total()} calls: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
        return "\n".join(lines)


def audit(
    model: Callable[..., Any], inputs: Any, rules: Table | Mapping[Any, Any] = RESCALE, **question: Any
) -> Coverage:
    """One forward pass of a model, and how each operation in it is treated by `rules`.

    `rules` is a table, or entries to add to that of DeepLIFT; `question` may hold `wrt`, `of`, `args` and `kwargs` as
    `enodo.explain` takes them. Nothing is refused: what a method would refuse is listed as unknown.
    """
    table = rules if isinstance(rules, Table) else RESCALE | rules
    calls: Counter[tuple[str, str, Spot]] = Counter()

    def report(name: str, kind: str, spot: Spot) -> None:
        calls[name, kind, spot] += 1

    q = ask(model, inputs, **question)
    try:
        q.traced(Rules(table, report=report))
    except Drew:  # it is known by now that the model draws random numbers
        calls.clear()
        q.traced(Rules(table, report=report))
    return Coverage(calls)
