"""What is asked and what is known: the part of a `Question` that methods seldom touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import entry, targets
from . import tree as trees
from .absence import Absence
from .batch import Batch
from .budget import Budget
from .draws import Drew
from .errors import describe, refuse
from .lasting import dataclass, replace
from .log import Log
from .places import Sight, Visit, Where, present, told
from .points import Point
from .rules import Rules
from .running import Call, forward
from .streaming import Answer, Points, Run, stream
from .streams import Streams
from .values import Values
from .watch import Constants

Self = TypeVar("Self", bound="Asked")
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Asked:
    """The question's terms, the passes it makes at its inputs and baseline, and what they found out (`memo`)."""

    call: Call
    baseline: Any  # like the inputs; None where token ids have the zero embedding
    target: Any  # prepared by `targets.prepare`
    wrt: Where
    entry: Where  # the inputs, as gradients can reach them
    of: Point
    budget: Budget
    log: Log
    of_name: str = "OUTPUT"
    absence: Absence | None = None  # what stands in for what is absent, for methods that switch features off
    batch: Batch = field(default_factory=Batch)  # the whole call, of which these may be some rows
    background: bool = False  # whether the baseline is a background: R rows, shared by all rows asked about
    seed: int = 0
    keys: tuple[tuple[int, ...], ...] = ()  # what the random stream of each row is named by, besides the seed
    shift: Values | None = None  # values in the space of `entry_x` that stand for the inputs
    create_graph: bool = False
    memo: dict[str, Any] = field(default_factory=dict)  # what earlier passes found out
    constants: Constants = field(default_factory=Constants)
    rules: Rules | None = None  # the mode of passes with a graph, where "gradient" has another meaning

    # ---------------------------------------------------------------- rows
    @property
    def rows(self) -> int:
        """B, the number of rows asked about."""
        return self.call.rows

    @property
    def streams(self) -> Streams:
        """Fresh random streams, one a row."""
        return Streams(self.seed, self.keys)

    def take(self: Self, index: Tensor) -> Self:
        """The question about some of the rows, with what is known about the places."""
        known = {k: v for k, v in self.memo.items() if k == "sight"}
        return replace(
            self,
            call=self.call.take(index),
            baseline=self.baseline if self.background else entry.take_baseline(self.baseline, self.rows, index),
            target=targets.take(self.target, index),
            keys=tuple(self.keys[i] for i in index.tolist()),
            shift=None if self.shift is None else self.shift.map(lambda t: t[index.to(t.device)]),
            memo=known,
        )

    def at_copies(self: Self, copies: Sequence[Values], first: int, picks: Sequence[Tensor] = ()) -> Self:
        """The question about k shifted copies of every row, k * B rows, each copy with random streams of its own.

        The target stays what it is at the inputs; `picks`, (B,) a copy, are rows of the background to be its baseline.
        """
        k, rows = len(copies), torch.arange(self.rows)
        settled = replace(self, target=self.settled_target)
        picked: dict[str, Any] = {}
        if picks:
            size, every = self.entry_x0.leaves[0].shape[0], torch.cat(list(picks))
            picked = {"baseline": entry.take_baseline(self.baseline, size, every), "background": False}
        return replace(
            settled.take(rows.repeat(k)),
            keys=tuple((*key, first + c) for c in range(k) for key in self.keys),
            shift=copies[0].map(lambda *ts: torch.cat(ts), *copies[1:]),
            memo={},
            **picked,
        )

    # ---------------------------------------------------------------- the target and the scores
    @property
    def settled_target(self) -> Any:
        """The target, with "predicted" resolved at the inputs."""
        if targets.unsettled(self.target) and "target" not in self.memo:
            self._look()
        return self.memo.get("target", self.target)

    @property
    def many(self) -> bool:
        """Whether several targets are asked about, so that results lead with a dimension T."""
        return self.scores.ndim > 1

    @property
    def scores(self) -> Tensor:
        """The score at the inputs, (B,) or (T, B)."""
        if "scores" not in self.memo:
            self._look()
        scores: Tensor = self.memo["scores"]
        return scores

    @property
    def baseline_scores(self) -> Tensor:
        """The score at the baseline, (B,) or (T, B); at a background of several rows, their mean."""
        if "baseline scores" not in self.memo:
            self._look_at_baseline()
        scores: Tensor = self.memo["baseline scores"]
        return scores

    def score_of(self, output: Any, tiles: int) -> Tensor:
        """The scores (B * tiles,) or (T, B * tiles) of a raw output of this many tiles of the rows."""
        with torch.enable_grad():  # the output has a graph only where its pass was made with one
            return targets.selector(self.settled_target, self.rows)(output, tiles)

    # ---------------------------------------------------------------- values at the places
    @property
    def sight(self) -> Sight:
        """What is known about `wrt`: the structure found there, calls, lookups."""
        if "sight" not in self.memo:
            self._see()
        sight: Sight = self.memo["sight"]
        return sight

    @property
    def x(self) -> Values:
        """The values at `wrt` for the inputs, (B, ...)."""
        if "x" not in self.memo:  # though the sight may be known, from the question about more rows
            self._see()
        x: Values = self.memo["x"]
        return x

    @property
    def x0(self) -> Values:
        """The values at `wrt` for the baseline, (B, ...)."""
        if self.wrt is self.entry:
            return self.entry_x0
        if "x0" not in self.memo:
            self._look_at_baseline()
        x0: Values = self.memo["x0"]
        return x0

    @property
    def at_entry(self: Self) -> Self:
        """The same question about the inputs."""
        if self.wrt is self.entry:
            return self
        if "entry" not in self.memo:
            self.memo["entry"] = replace(self, wrt=self.entry, memo={}, rules=None)
        found: Self = self.memo["entry"]
        return found

    @property
    def unshifted(self: Self) -> Self:
        """The question about the inputs themselves, asked at the inputs; knows their structure."""
        if "unshifted" not in self.memo:
            self.memo["unshifted"] = replace(self, wrt=self.entry, shift=None, memo={}, rules=None)
        found: Self = self.memo["unshifted"]
        return found

    @property
    def entry_x(self) -> Values:
        """The inputs as gradients can reach them: floating-point tensors, and the vectors that token ids look up."""
        return self.at_entry.x

    @property
    def entry_x0(self) -> Values:
        """The baseline in the space of `entry_x`, (B, ...), or (R, ...) for a background of R rows."""
        if "entry x0" not in self.memo:
            self.memo["entry x0"] = entry.of_baseline(self.at_entry)
        x0: Values = self.memo["entry x0"]
        return x0

    def told(self, values: Values, lead: int | None = None) -> Values:
        """Values at `wrt` with one number a token, as readers are told them; the memo's "stderr" is of these."""
        return told(values, self.sight, self.call.inputs, self.lead_of(values) if lead is None else lead)

    def present(self, said: Values, lead: int) -> Any:
        """Values as they are `told`, in the structure found at `wrt`."""
        return present(said, self.sight, self.call.inputs, lead)

    def lead_of(self, values: Values) -> int:
        """How many dimensions of an answer stand before the rows; one of another rank than x says so in the memo."""
        return int(self.memo.get("lead", values.leaves[0].ndim - self.x.leaves[0].ndim if len(values) else 0))

    # ---------------------------------------------------------------- passes
    def _see(self) -> None:
        """Find out what is at `wrt` for the inputs: by a pass, unless that is the inputs themselves."""
        if self.wrt is self.entry and self.shift is not None:
            self.memo["sight"], self.memo["x"] = self.unshifted.sight, self.shift
        elif self.wrt.at_inputs and not self.wrt.ids:
            visit = Visit(self.wrt, None, False, self.create_graph, None)
            visit.see_inputs(self.call.inputs)
            if not len(visit.sight.values):
                given = f"{describe(self.call.inputs)}, without a floating-point tensor"
                refuse("inputs", given, "numbers, or token ids that are looked up", "Write x.float() for numbers.")
            self.memo["sight"], self.memo["x"] = visit.sight, self.shift or visit.sight.values
        else:
            self._look()

    def _look(self) -> None:
        """One pass at the inputs, for what is at `wrt` and for the score."""
        self._remember(*self._at_inputs(grad=False))

    def _at_inputs(self, grad: bool, score: bool = True) -> tuple[Sight, Any]:
        if self.shift is not None:
            return self.passed(self.shift.map(lambda t: t[None]), 1, grad=grad)
        visit = Visit(self.wrt, None, grad, self.create_graph, None)
        return visit.sight, self._run(self.call, [visit], grad=grad, score=score)

    def _remember(self, sight: Sight, output: Any) -> Tensor:
        self._check(sight)
        self.settle(output)
        scores = self.score_of(output, 1)
        x = sight.values if self.create_graph else sight.values.map(Tensor.detach)
        self.memo.update(sight=sight, x=x, scores=scores if self.create_graph else scores.detach())
        return scores

    def _check(self, sight: Sight) -> None:
        if sight.where.at_inputs and not sight.where.ids:
            return
        sight.check()
        for note in sight.integers(self.call.inputs):
            self.log.note(note)
        for point, name, ran in zip(sight.where.points, sight.where.names, sight.calls, strict=True):
            if ran > 1 and point.call is None:
                self.log.note(
                    f"{name} ran {ran} times: its last call is explained; name another as {name.split(':')[0]}@0."
                )

    def _look_at_baseline(self) -> None:
        if self._ends_are_inputs and "scores" not in self.memo:
            self.memo.update(entry.look_at_both(self))
        else:
            self.memo["x0"], self.memo["baseline scores"] = entry.look_at_baseline(self)

    @property
    def _ends_are_inputs(self) -> bool:
        """Whether the values at `wrt`, for the inputs and for the baseline, are what the model is called on there."""
        return self.wrt is self.entry and not (self.background or self.wrt.ids or self.shift)

    def settle(self, output: Any) -> None:
        """Where "predicted" is asked about and not known yet, learn it from an output that begins with the inputs'."""
        if targets.unsettled(self.target) and "target" not in self.memo:
            self.memo["target"] = targets.settle(self.target, output, self.rows)

    def passed(self, points: Values, k: int, grad: bool = False, afresh: bool = False) -> tuple[Sight, Any]:
        """One pass with the inputs set to k points, watching `wrt`: what was seen there, and the output at `of`."""
        known = None if afresh else self.memo.get("sight")
        start = self.at_entry.sight if self.shift is None else self.unshifted.sight
        put = Visit(self.entry, points.flatten(), grad and self.wrt is self.entry, self.create_graph, start)
        visits = [put] if self.wrt is self.entry else [put, Visit(self.wrt, None, grad, self.create_graph, known)]
        output = self._run(self.call.tile(k, self.entry), visits, grad=grad)
        return visits[-1].sight, output

    def _run(self, call: Call, visits: list[Visit], *, grad: bool, score: bool = True) -> Any:
        measure = self.budget.unmeasured if grad else self.budget.curious
        device = next(t for _, t in trees.leaves(call.inputs) if isinstance(t, Tensor)).device if measure else _CPU
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self.budget.tried, drew = call.rows, call.draws.kind
        then = None if self.rules is None else targets.teller(self.target)
        output, load = forward(
            call, self.of, visits, grad=grad or self.create_graph, keep=self.create_graph, score=score, measure=measure,
            constants=self.constants, rules=self.rules, then=then,
        )  # fmt: skip
        if call.draws.kind and not drew:
            raise Drew
        if load is not None:
            self.budget.met(load, call.rows, device, before, grad)
        self.log.forwarded(call.rows)
        return output

    def stream(self, n: int, points: Points, run: Run[Answer], graph: bool = True) -> Iterator[tuple[int, int, Answer]]:
        """Run n points of `rows` rows each; see `streaming.stream`."""
        return stream(self.budget, self.log, self.rows, n, points, run, graph)
