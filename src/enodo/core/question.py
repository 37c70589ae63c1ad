"""`Question`: why is `of` what it is at `inputs`, rather than at `baseline`, in terms of the values at `wrt`?

Methods are functions of a Question. It offers two primitives, **see** (run, and observe the values at `wrt`) and **do**
(run with `wrt` set to given values), in the forms that algorithms need, each streamed under the memory contract:

* `q.x`, `q.x0`: the values at `wrt` for the inputs and for the baseline, leaves (B, ...);
* `q.gradient()`: the values at `wrt` and the gradient of the score there;
* `q.game(features)`: the score for any set of features present (`core.game`);
* `q.gradient_under(table)`, `q.multipliers(table)`: the gradient under rules, alone or compared with the baseline;
* `q.values(n, points)`, `q.grads(n, points)`, `q.scored_grads(n, points)`: scores, gradients, or both, with `wrt` set
  to a stream of n points;
* `q.seen(n, points)`, `q.observed(n, points)`: `wrt` seen, with or without its gradient, while the *inputs* run through
  a stream of points; for inputs that are token ids the points are their embedding vectors (`q.entry_x`).

`points(i, j)` gives the points from i to j as Values with leaves (j - i, B, ...). Results come as (i, j, ...) with
scores (k, B) and gradients (k, B, ...), or (k, T, B, ...) for T targets.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.futures import Future

from . import comparing, targets, vjp
from . import tree as trees
from .asked import Asked
from .errors import NoPath, about, refuse
from .features import Features
from .game import Game
from .lasting import dataclass, replace
from .ledger import Ledger
from .places import Sight, Visit, Where
from .points import locate
from .rules import Rules
from .running import Call
from .streaming import Points, read
from .tables import Table
from .values import Values


@dataclass(frozen=True, eq=False)
class Question(Asked):
    """A question about some rows of a batch; see the module's text."""

    def gradient(self) -> tuple[Values, Values]:
        """The values at `wrt` for the inputs, (B, ...), and the score's gradient there, (B, ...) or (T, B, ...)."""
        sight, output = self._at_inputs(grad=True)
        scores = self._remember(sight, output)
        values = sight.values
        return self.x, self._filled(self._pulled(scores, values), values, scores.shape[:-1])

    def gradient_under(
        self, table: Table, on_unknown: Any = "error", at: Ledger | None = None
    ) -> tuple[Values, Values]:
        """`gradient`, as a table of rules has it; `at` holds the operations at the baseline for one that compares."""
        if not self.create_graph:
            return replace(self, rules=Rules(table, on_unknown=on_unknown, at=at)).gradient()
        # the operations in a graph of their own, so that derivatives of what rules compute are true
        true = Ledger(keep=True)
        x = self.traced(Rules(table, on_unknown=comparing.silent(on_unknown), record=true, beside=at))
        _, g = replace(self, rules=Rules(table, on_unknown=on_unknown, at=at, true=true)).gradient()
        self.memo["x"] = x
        return x, g

    def multipliers(self, table: Table, on_unknown: Any = "error") -> tuple[Values, Values, Values]:
        """The values at `wrt` for inputs and baseline, and the gradient under a table that compares them."""
        return comparing.multipliers(self, table, on_unknown)

    @property
    def alike(self) -> bool:
        """Whether the rows differ in nothing but what baselines take the place of, and do not act on each other."""
        return comparing.alike(self)

    def at_baseline(self, rules: Rules, rows: int) -> tuple[Values, Any]:
        """What is at `wrt` for the first rows of the baseline, and the output, in one pass that rules watch."""
        return comparing.at_baseline(self, rules, rows)

    def traced(self, rules: Rules) -> Values:
        """The values at `wrt` in one pass at the inputs that `rules` watch, whatever its score."""
        return self.followed(rules)[0]

    def followed(self, rules: Rules) -> tuple[Values, Any]:
        """The values at `wrt` and the raw output, with their graph, in one pass at the inputs that `rules` watch."""
        sight, output = replace(self, rules=rules)._at_inputs(grad=True)
        self._check(sight)
        self.memo.update(sight=sight, x=sight.values if self.create_graph else sight.values.map(torch.Tensor.detach))
        return sight.values, output

    def activation(self) -> Values:
        """The values at `wrt` for the inputs, without a score; the pass is left early where `Where.late` allows it."""
        if self.wrt.ids or not self.wrt.at_inputs:
            sight, _ = self._at_inputs(grad=self.create_graph, score=False)
            self._check(sight)
            self.memo.update(sight=sight, x=sight.values)
        return self.x

    def values(self, n: int, points: Points) -> Iterator[tuple[int, int, Tensor]]:
        """Scores (k, B) or (k, T, B) with `wrt` set to points."""

        return self.stream(n, points, self.scored)

    def scored(self, x: Values, k: int) -> Tensor:
        """Scores (k, B) or (k, T, B) with `wrt` set to k points, in one pass.

        Where what was predicted at the inputs is not known yet, the first point is the inputs.
        """
        visit = Visit(self.wrt, x.flatten(), False, self.create_graph, self.sight)
        return self.scored_in(self.call.tile(k, self.wrt), [visit], k)

    def scored_in(self, call: Call, visits: list[Visit], k: int) -> Tensor:
        """Scores (k, B) or (k, T, B) in one pass of a call that has the rows k times; `Pending` from a Future."""

        def scores_of(output: Any) -> Tensor:
            self.settle(output)
            scores = self.score_of(output, k)
            return _by_point(scores if self.create_graph else scores.detach(), k)

        found: Tensor = read(super()._run(call, visits, grad=False), scores_of)
        return found

    def _run(self, call: Call, visits: list[Visit], *, grad: bool, score: bool = True) -> Any:
        """A pass whose output is waited for."""
        output = super()._run(call, visits, grad=grad, score=score)
        return output.wait() if isinstance(output, Future) else output

    def game(self, features: Any = None) -> Game:
        """The score as a function of which features are present; see `core.features` for how they are given."""
        return Game(self, Features.of(features))

    def scored_grads(self, n: int, points: Points) -> Iterator[tuple[int, int, tuple[Tensor, Values]]]:
        """Scores (k, B) or (k, T, B) with `wrt` set to points, and their gradients there."""

        def run(x: Values, k: int) -> tuple[Tensor, Values]:
            visit = Visit(self.wrt, x.flatten(), True, self.create_graph, self.sight)
            scores = self.score_of(self._run(self.call.tile(k, self.wrt), [visit], grad=True), k)
            g = self._gradients(scores, visit.sight.values, k)
            return _by_point(scores if self.create_graph else scores.detach(), k), g

        return self.stream(n, points, run)

    def grads(self, n: int, points: Points, ends: bool = False) -> Iterator[tuple[int, int, Values]]:
        """Gradients of the score at `wrt`, (k, B, ...) or (k, T, B, ...), with `wrt` set to points.

        With `ends`, the n points lie between two more, the baseline and the inputs, of which no gradient is asked: of a
        model so light that a pass costs more than its rows, they go along, and their scores need no pass of their own.
        """
        known = "scores" in self.memo or targets.unsettled(self.target)
        if not (ends and self.budget.light and self._ends_are_inputs) or known:
            inner = (lambda i, j: points(i + 1, j + 1)) if ends else points
            yield from ((i, j, g) for i, j, (_, g) in self.scored_grads(n, inner))
            return
        for i, j, (scores, g) in self.scored_grads(n + 2, points):
            first, last = i == 0, j == n + 2
            self._note_ends(scores, first, last)
            yield i - 1 + first, j - 1 - last, g.map(operator.itemgetter(slice(int(first), -1 if last else None)))

    def _note_ends(self, scores: Tensor, first: bool, last: bool) -> None:
        """Of k points the first may be the baseline and the last the inputs: their scores are known then."""
        scores = scores.detach()
        if first:
            self.memo.setdefault("baseline scores", scores.select(0, 0))
        if last:
            self.memo.setdefault("scores", scores.select(0, -1))

    def seen(self, n: int, points: Points, ends: bool = False) -> Iterator[tuple[int, int, tuple[Values, Values]]]:
        """The values at `wrt` and the gradients there, with the inputs set to points of `entry_x`'s space.

        With `ends` the first point is the baseline and the last the inputs: what is known of them needs no other pass.
        """

        def run(x: Values, k: int) -> tuple[Values, Values, Tensor, Sight]:
            sight, output = self.passed(x, k, grad=True)
            at, scores = sight.values, self.score_of(output, k)
            g = self._gradients(scores, at, k)
            at = at if self.create_graph else at.map(torch.Tensor.detach)
            return at.map(lambda t: t.unflatten(0, (k, self.rows))), g, scores, sight.without_values()

        def met(block: tuple[int, int, tuple[Values, Values, Tensor, Sight]]) -> tuple[int, int, tuple[Values, Values]]:
            i, j, (at, g, scores, sight) = block
            if ends:
                self._note_ends(_by_point(scores, j - i), i == 0, j == n)
            if ends and j == n and sight.alike and "sight" not in self.memo:
                self._check(sight)
                self.memo.update(sight=sight, x=at.map(lambda t: t[-1].clone()))
            return i, j, (at, g)

        return map(met, self.stream(n, points, run))  # no loop's variable keeps a block while the next is made

    def observed(self, n: int, points: Points) -> Iterator[tuple[int, int, Values]]:
        """The values at `wrt`, with the inputs set to points of `entry_x`'s space."""
        if self.wrt is self.entry:
            return self.stream(n, points, lambda x, k: x)

        def run(x: Values, k: int) -> Values:
            sight, _ = self.passed(x, k)
            return sight.values.map(lambda t: t.unflatten(0, (k, self.rows)))

        return self.stream(n, points, run)

    def flows(self, n: int, points: Points, through: Any, neuron: Any) -> Iterator[tuple[int, int, Values]]:
        """Gradients at `wrt` of what reaches the score through a neuron, with `wrt` set to points.

        df/dh_j dh_j/dx for the neurons h_j that `neuron`, spelt like a target, selects at the place `through`; several
        of them lead with a dimension as several targets do. One score a row only.
        """
        point, name = locate(through, self.call.model, "through")
        where = Where((point,), (name,))
        with about("neuron"):
            pick = targets.selector(targets.prepare(neuron, self.rows), self.rows)
        if self.many:
            refuse("target", f"{len(self.scores)} targets", "a single target, when the question is about neurons")

        def run(x: Values, k: int) -> Values:
            put = Visit(self.wrt, x.flatten(), True, self.create_graph, self.sight)
            mid = Visit(where, None, True, self.create_graph, None)
            output = self._run(self.call.tile(k, self.wrt), [put, mid], grad=True)
            mid.sight.check()
            with torch.enable_grad():
                h, scores = mid.sight.values, self.score_of(output, k)
                ones = [torch.ones_like(scores)]
                down = vjp.pulled([scores], h, ones, 0, self.create_graph, keep=True)
                which = h.map(lambda t: t.detach().requires_grad_())
                with about("neuron"):
                    chosen = pick(mid.sight.forms[0].fill(which.leaves), k)
            parallel = self.budget.parallel_targets(k * self.rows)
            mask = vjp.gradients(chosen, which, parallel, False)
            met = [(t, d * m) for t, d, m in zip(h.leaves, down, mask, strict=True) if d is not None and m is not None]
            ends, cotangents = [t for t, _ in met], [c for _, c in met]
            at = put.sight.values
            found = vjp.pulled(ends, at, cotangents, parallel * (chosen.ndim - 1), self.create_graph)
            return self._by_point(found, at, k, chosen.shape[:-1])

        return self.stream(n, points, run)

    def _pulled(self, scores: Tensor, x: Values) -> list[Tensor | None]:
        alone = self.rules is not None and self.rules.one_by_one
        parallel = 1 if alone else self.budget.parallel_targets(scores.shape[-1])
        return vjp.gradients(scores, x, parallel, self.create_graph)

    def _gradients(self, scores: Tensor, x: Values, k: int) -> Values:
        """The gradients at k points of every row: (k, B, ...), or (k, T, B, ...)."""
        return self._by_point(self._pulled(scores, x), x, k, scores.shape[:-1])

    def _by_point(self, found: list[Tensor | None], x: Values, k: int, lead: torch.Size) -> Values:
        whole = self._filled(found, x, lead)
        if not lead:
            return whole.map(lambda t: t.unflatten(0, (k, self.rows)))
        return whole.map(lambda t: t.unflatten(1, (k, self.rows)).movedim(0, 1))

    def _filled(self, found: list[Tensor | None], x: Values, lead: torch.Size) -> Values:
        """Gradients as they were found; none at all is refused, a missing one is zero and noted."""
        met = [g for g in found if g is not None]
        if met and len(met) == len(found):
            return Values(met)
        unused = [name for name, g in zip(self._leaf_names(), found, strict=True) if g is None]
        if len(unused) == len(found):
            given = f"{', '.join(self.wrt.names)}, from which no gradient reaches the score"
            raise NoPath("wrt", given, "a place with a differentiable path to the score", vjp.REMEDY)
        for name in unused:
            self.log.note(f"The score does not use {name}: its attribution is zero.")
        pairs = zip(x.leaves, found, strict=True)
        return Values(t.new_zeros(*lead, *t.shape) if g is None else g for t, g in pairs)

    def _leaf_names(self) -> list[str]:
        names = [n + trees.spell(p) for n, f in zip(self.wrt.names, self.sight.forms, strict=True) for p in f.paths]
        return names + [
            " and ".join("inputs" + trees.spell(self.wrt.ids[i]) for i in sorted(k.inputs)) for k in self.sight.lookups
        ]


def _by_point(scores: Tensor, k: int) -> Tensor:
    """(k * B) -> (k, B); (T, k * B) -> (k, T, B)."""
    scores = scores.reshape(*scores.shape[:-1], k, -1)
    return scores if scores.ndim == 2 else scores.movedim(1, 0)
