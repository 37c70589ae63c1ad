"""`audit`: what a table of rules makes of a model, operation by operation, before anything is explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from enodo.core import tree as trees
from enodo.core.draws import Drew
from enodo.core.explain import ask
from enodo.core.operations import Spot, is_live, spelling
from enodo.core.rules import Rules
from enodo.core.tables import Table

from .presets import Composite
from .rescale import RESCALE

_INCOMPLETE = {  # where attributions need not add up, and why
    "detached": "what changes through it is nobody's, and shows in the completeness gap",
    "plain": "its own gradient is taken, which no rule makes complete",
    "unknown": "refused; give it a rule, or take its own gradient (on_unknown='warn'), which leaves a gap",
}


@dataclass(frozen=True)
class Coverage:
    """The operations that one forward pass does on the path of gradients, with how a table treats each.

    `calls` counts (operation, kind, Spot); the kinds are "linear" (its own gradient is right), "ruled", "decomposed"
    (done by simpler operations), "plain" (its own gradient is taken), "detached" (what it gives is off the path) and
    "unknown" (refused).
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
        wide = max(len(name) for name in ("operation", *(name for name, _, _ in self.calls)))
        lines = [f"{'operation':{wide}} {'treated as':11} {'calls':>5}  module and line"]
        for (name, kind, spot), n in self.calls.items():
            lines.append(f"{name:{wide}} {kind:11} {n:5}  {spot.module or '-'} ({spot.file}:{spot.line})")
        kinds = Counter[str]()
        for (_, kind, _), n in self.calls.items():
            kinds[kind] += n
        lines.append(f"{kinds.total()} calls: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
        return "\n".join([*lines, *(f"{kind}: {why}." for kind, why in _INCOMPLETE.items() if kind in kinds)])


def audit(
    model: Callable[..., Any], inputs: Any, rules: Table | Composite | Mapping[Any, Any] = RESCALE, **question: Any
) -> Coverage:
    """One forward pass of a model, and how each operation in it is treated by `rules`.

    `rules` is a table, a composite, or entries to add to the table of DeepLIFT; `question` may hold `wrt`, `of`, `args`
    and `kwargs` as `enodo.explain` takes them. Nothing is refused: what a method would refuse is listed as unknown.

    >>> import torch, enodo
    >>> print(enodo.audit(lambda x: torch.relu(x).sum(1), torch.ones(1, 2)).rows()[0]["kind"])
    ruled
    """
    if isinstance(rules, Composite):
        rules = rules.table()
    table = rules if isinstance(rules, Table) else RESCALE.within(model, rules)
    calls: Counter[tuple[str, str, Spot]] = Counter()

    def report(name: str, kind: str, spot: Spot) -> None:
        calls[name, kind, spot] += 1

    q = ask(model, inputs, **question)
    try:
        q.traced(_Watched(table, report=report))
    except Drew:  # it is known by now that the model draws random numbers
        calls.clear()
        q.traced(_Watched(table, report=report))
    return Coverage(calls)


class _Watched(Rules):
    """The pass of an audit, which also tells of numbers that leave the path of gradients."""

    def met(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a call, and see whether it had what is on the path and gives numbers that are not."""
        out = super().met(func, args, kwargs)
        name = spelling(func).name
        if self._begun and any(map(is_live, (*args, *kwargs.values()))) and not _is_form(name):
            found = [t for _, t in trees.leaves(out) if isinstance(t, float) or _is_number(t)]
            if found and not any(map(is_live, found)):
                self._tell(name, "detached")
        return out


def _is_form(name: str) -> bool:
    """Whether an operation asks for no more than the shape of what it is given."""
    return name.startswith("new_") or name.endswith("_like")


def _is_number(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()
