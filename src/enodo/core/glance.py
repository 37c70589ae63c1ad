"""Questions so plain that asking them takes longer than the pass: one float tensor, one place, a small model.

Methods that a pass or two can answer ("once" among their claims: the gradient at the inputs or on the way to them from
zero, also under rules that compare the inputs with zero; the value of a layer) meet a `Glance` there in the place of a
Question. It makes the same passes, without the terms that a full question leaves open. Whatever is not as plain, or
goes wrong in a way that takes words, is left to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from . import comparing, targets, vjp
from .budget import Budget, brief, is_out_of_memory
from .draws import CERTAIN, Draws
from .errors import EnodoError
from .gather import described, gap, sums_up
from .given import is_dense
from .lasting import replace
from .ledger import Ledger
from .places import likely_dim
from .points import INPUT, OUTPUT, Point, Watched, locate
from .registry import Card
from .result import Attribution, provenance
from .rules import Rules
from .running import Call, kept, noticed, watched
from .state import State, eager
from .streaming import Points
from .tables import Table
from .threads import cached_property
from .transforms import level
from .values import Values
from .watch import Constants, Watch


class NotPlain(Exception):
    """What was met takes a full question."""


class Glance:
    """What a method of one pass asks its question; leaves (B, ...). Whatever else it asks takes a full question."""

    alike, create_graph = True, False

    def __init__(self, call: Call, target: Any, point: Point, budget: Budget) -> None:
        self.call, self.target, self.point, self.budget = call, target, point, budget
        self.inputs: Tensor = call.inputs
        self.rows, self.forwarded = call.rows, 0
        self.settled = target
        self.memo: dict[str, Any] = {}  # the scores

    def __getattr__(self, name: str) -> Any:
        raise NotPlain

    @property
    def x(self) -> Values:
        """The inputs."""
        return Values((self.inputs.detach(),))

    @property
    def x0(self) -> Values:
        """The baseline, zero."""
        return Values((torch.zeros_like(self.inputs[:1]).expand_as(self.inputs),))  # one row, seen to be that of all

    @cached_property
    def entry_x0(self) -> Values:
        """The same, as rules compare with it."""
        return self.x0

    @cached_property
    def constants(self) -> Constants:
        """The parameters that passes under rules have met."""
        return Constants()

    def gradient(self) -> tuple[Values, Values]:
        """The inputs, and the gradient of the score there."""
        self.memo["scores"], g = self._pass(self.inputs, 1)
        return self.x, Values((g,))

    def multipliers(self, table: Table, on_unknown: Any = "error") -> tuple[Values, Values, Values]:
        """The inputs, zero, and the gradient under rules that compare the two."""
        return comparing.multipliers(self, table, on_unknown)

    def at_baseline(self, rules: Rules, rows: int) -> tuple[Values, Any]:
        """Some rows of zeros, and the model's output there, under rules."""
        zero = self.entry_x0.map(lambda t: t[:rows])
        with torch.enable_grad():
            return zero, self._run(zero.leaves[0], rules)[1]

    def gradient_under(self, table: Table, on_unknown: Any, at: Ledger) -> tuple[Values, Values]:
        """The inputs, and what rules make of the gradient of the score there."""
        self.memo["scores"], g = self._pass(self.inputs, 1, Rules(table, on_unknown=on_unknown, at=at))
        return self.x, Values((g,))

    def score_of(self, output: Any, tiles: int) -> Tensor:
        """The scores (B * tiles,) of an output."""
        return targets.selector(self.settled, self.rows)(output, tiles)

    def grads(self, n: int, points: Points, ends: bool = False) -> Iterator[tuple[int, int, Values]]:
        """Gradients at n points between the baseline and the inputs, which go along; all in one pass."""
        k = n + 2
        if not ends or targets.unsettled(self.target) or self.budget.points(self.rows, k) < k:
            raise NotPlain
        scores, g = self._pass(points(0, k).leaves[0].flatten(0, 1), k)
        self.memo.update({"baseline scores": scores[: self.rows], "scores": scores[-self.rows :]})
        yield 0, n, Values((g.unflatten(0, (k, self.rows))[1:-1],))

    def _pass(self, x: Tensor, k: int, rules: Rules | None = None) -> tuple[Tensor, Tensor]:
        """Scores (k * B,) of k points of every row, and their gradients there."""
        with torch.enable_grad():
            x, output = self._run(x, rules)
            if targets.unsettled(self.target):
                self.settled = targets.settle(self.target, output, self.rows)
            scores = self.score_of(output, k)
        (g,) = vjp.gradients(scores, Values((x,)), 1, False)
        if g is None:
            raise NotPlain
        return scores.detach(), g

    def _run(self, x: Tensor, rules: Rules | None) -> tuple[Tensor, Any]:
        """Points, of which gradients can be taken, and the model's output there."""
        if self.point is not INPUT:
            raise NotPlain
        self.budget.tried = x.shape[0]
        if rules is None and not (self.call.state.fixed and x.shape[0] == 1):
            x = x.detach().clone().requires_grad_()  # to write into it is an error then, and takes a full question
            output = self._output(x)
        else:
            x = x.detach().requires_grad_()
            output = self._seen(x.clone(), rules)
        self.forwarded += x.shape[0]
        return x, output

    def _seen(self, x: Tensor, rules: Rules | None) -> Any:
        """The model's output at a tensor that is not the caller's; each of its operations is seen."""
        around: list[Any] = [Watch(None, None, False)]
        if rules is not None:
            rules.start(x)
            around = [Watch(self.constants, None, False, rules=rules), kept()]

        def answer(output: Any) -> Any:
            if rules is not None:
                rules.finish(output)
            return output

        output = watched(replace(self.call, inputs=x), around, True, rules is not None, answer)
        self._check_quiet()
        return output

    def _output(self, x: Tensor) -> Any:
        """The model's output at a copy of the points."""
        call = self.call
        if call.draws is CERTAIN:
            return call.model(x)
        output = noticed(call, True, lambda: call.model(x))
        self._check_quiet()
        return output

    def _check_quiet(self) -> None:
        if self.call.draws.kind:
            raise NotPlain

    def activation(self) -> Values:
        """The value of a layer that runs once and gives one tensor with its rows first."""
        if self.point is INPUT:
            raise NotPlain
        rows, seen = self.rows, list[Tensor | None]()
        self.forwarded = self.budget.tried = rows

        def see(value: Any, call: int) -> Any:
            plain = type(value) is Tensor and value.shape[:1] == (rows,) and value.is_floating_point()
            seen.append(value.detach().clone() if plain else None)  # a clone, which in-place code leaves alone
            return value

        with Watched([(self.point, see)]):
            self._output(self.inputs.clone())  # which in-place code may change
        if len(seen) != 1 or seen[0] is None:
            raise NotPlain
        return Values((seen[0],))


def glanced(card: Card, options: dict[str, Any], model: Any, inputs: Any, terms: dict[str, Any]) -> Attribution | None:
    """The answer of a method to a plain question, but for its seconds; None where the question is not plain.

    Where a pass of it runs out of memory the terms get a `batch_size` of half its rows, for the full question.
    """
    if level() or not (_bare(terms) and _plain(inputs) and callable(model) and not isinstance(model, type)):
        return None
    model, rows = eager(model), inputs.shape[0]
    state = State.of(model)
    if state.writes(model) or state.compiled or state.copies or state.shortcuts:
        return None
    budget = Budget(terms["batch_size"], state.weights, inputs.nbytes // rows)
    point, name = locate(terms["wrt"], model, "wrt")
    special = point.path or point.call is not None or (point.layer is not None and likely_dim(point, ()))
    if (
        not brief(inputs.nbytes // rows, state.weights)
        or budget.limit < rows
        or special
        or (point.layer is None and point is not INPUT)
    ):
        return None
    target = targets.prepare(terms["target"], rows)
    if callable(target) or isinstance(target, targets.Each) or target == "all":  # perhaps several scores a row
        return None
    draws = Draws(model, terms["seed"]) if state.draws else CERTAIN
    if draws.kind:
        return None
    question = Glance(Call(model, inputs, (), {}, rows, state, draws), target, point, budget)
    try:
        with torch.set_grad_enabled(False):  # `no_grad` takes twice as long
            values: Tensor = card.fn(question, **options).leaves[0]
    except NotPlain:
        return None
    except Exception as error:
        said = isinstance(error, EnodoError) and budget.tried <= rows  # of several points a model may answer one
        if said or (is_out_of_memory(error) and budget.tried == 1):
            raise
        if is_out_of_memory(error):
            terms["batch_size"] = budget.tried // 2
        return None
    score, base = question.memo.get("scores"), question.memo.get("baseline scores")
    delta = None
    if "completeness" in card.claims and score is not None and base is not None:
        delta = gap(Values((values,)), score, base)
    if not sums_up([values, score] if delta is None else [delta]):
        return None
    return Attribution(
        values.to(inputs.dtype), card.name, card.defaults | options, score, base, delta,
        target=described([question.settled]), wrt=name, rows=question.forwarded, batch_size=budget.limit,
        **provenance(model),
    )  # fmt: skip


def _bare(terms: Mapping[str, Any]) -> bool:
    """Whether a question leaves most of its terms at their defaults."""
    args, seed, places = terms["args"], terms["seed"], terms["wrt"]
    return (
        terms["baseline"] is None
        and terms["of"] is OUTPUT
        and type(args) is tuple
        and not args
        and terms["kwargs"] is None
        and not terms["create_graph"]
        and type(seed) is int
        and seed >= 0
        and not isinstance(places, (list, tuple))
    )


def _plain(inputs: Any) -> bool:
    """Whether inputs are one small dense tensor of real numbers with rows, which autograd can take part in."""
    return (
        type(inputs) is Tensor
        and is_dense(inputs)
        and inputs.is_floating_point()
        and inputs.ndim > 0
        and inputs.numel() > 0
        and not inputs.is_inference()
        and brief(inputs.nbytes // inputs.shape[0])
    )
