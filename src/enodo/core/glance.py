"""Questions so plain that asking them takes longer than the pass: one float tensor, one place, a small model.

Methods that one pass can answer ("once" among their claims: the gradient at the inputs or on the way to them from zero,
the value of a layer) meet a `Glance` there in the place of a Question. It makes the same pass, without the terms that a
full question leaves open. Whatever is not as plain, or goes wrong in a way that takes words, is left to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from . import targets, vjp
from .budget import Budget, is_out_of_memory
from .errors import EnodoError
from .gather import described, gap, sums_up
from .given import is_dense
from .places import likely_dim
from .points import INPUT, OUTPUT, Point, Watched, locate
from .registry import Card
from .result import Attribution, provenance
from .state import State, eager
from .streaming import Points
from .transforms import level
from .values import Values


class NotPlain(Exception):
    """What was met takes a full question."""


class Glance:
    """What a method of one pass asks its question; leaves (B, ...). Whatever else it asks takes a full question."""

    score: Tensor | None = None
    baseline_score: Tensor | None = None

    def __init__(self, model: Callable[..., Any], inputs: Tensor, target: Any, point: Point, budget: Budget) -> None:
        self.model, self.inputs, self.target, self.point, self.budget = model, inputs, target, point, budget
        self.rows = self.forwarded = inputs.shape[0]
        self.settled = target

    def __getattr__(self, name: str) -> Any:
        raise NotPlain

    @property
    def x(self) -> Values:
        """The inputs."""
        return Values((self.inputs.detach(),))

    @property
    def x0(self) -> Values:
        """The baseline, zero."""
        return Values((torch.zeros_like(self.inputs),))

    def gradient(self) -> tuple[Values, Values]:
        """The inputs, and the gradient of the score there."""
        x = self.inputs.detach()
        self.score, g = self._pass(x, 1)
        return Values((x,)), Values((g,))

    def grads(self, n: int, points: Points, ends: bool = False) -> Iterator[tuple[int, int, Values]]:
        """Gradients at n points between the baseline and the inputs, which go along; all in one pass."""
        k = n + 2
        if not ends or targets.unsettled(self.target) or self.budget.points(self.rows, k) < k:
            raise NotPlain
        self.forwarded = k * self.rows
        scores, g = self._pass(points(0, k).leaves[0].flatten(0, 1), k)
        self.baseline_score, self.score = scores[: self.rows], scores[-self.rows :]
        yield 0, n, Values((g.unflatten(0, (k, self.rows))[1:-1],))

    def _pass(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores (k * B,) of k points of every row, and their gradients there.

        The model is given a copy. To write into it is an error, as the graph starts there, and takes a full question.
        """
        if self.point is not INPUT:
            raise NotPlain
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            output = self.model(x)
            if targets.unsettled(self.target):
                self.settled = targets.settle(self.target, output, self.rows)
            scores = targets.selector(self.settled, self.rows)(output, k)
        (g,) = vjp.gradients(scores, Values((x,)), 1, False)
        if g is None:
            raise NotPlain
        return scores.detach(), g

    def activation(self) -> Values:
        """The value of a layer that runs once and gives one tensor with its rows first."""
        if self.point is INPUT:
            raise NotPlain
        rows, seen = self.rows, list[Tensor | None]()

        def see(value: Any, call: int) -> Any:
            plain = type(value) is Tensor and value.shape[:1] == (rows,) and value.is_floating_point()
            seen.append(value.detach().clone() if plain else None)  # a clone, which in-place code leaves alone
            return value

        with torch.no_grad(), Watched([(self.point, see)]):
            self.model(self.inputs.detach().clone())
        if len(seen) != 1 or seen[0] is None:
            raise NotPlain
        return Values((seen[0],))


def glanced(card: Card, options: dict[str, Any], model: Any, inputs: Any, terms: dict[str, Any]) -> Attribution | None:
    """The answer of a method to a plain question, but for its seconds; None where the question is not plain.

    Where its one pass runs out of memory the terms get a `batch_size` of half its rows, for the full question.
    """
    if level() or not (_bare(terms) and _plain(inputs) and callable(model) and not isinstance(model, type)):
        return None
    model = eager(model)
    state, rows = State.of(model), inputs.shape[0]
    if state.writes(model) or state.compiled or state.copies or state.shortcuts:
        return None
    budget = Budget(terms["batch_size"], state.weights, inputs.nbytes // rows)
    point, name = locate(terms["wrt"], model, "wrt")
    special = point.path or point.call is not None or (point.layer is not None and likely_dim(point, ()))
    if not budget.light or budget.limit < rows or special or (point.layer is None and point is not INPUT):
        return None
    target = targets.prepare(terms["target"], rows)
    if callable(target) or isinstance(target, targets.Each) or target == "all":  # perhaps several scores a row
        return None
    question = Glance(model, inputs, target, point, budget)
    try:
        values: Tensor = card.fn(question, **options).leaves[0]
    except NotPlain:
        return None
    except Exception as error:
        if isinstance(error, EnodoError) or (is_out_of_memory(error) and question.forwarded == 1):
            raise
        if is_out_of_memory(error):
            terms["batch_size"] = question.forwarded // 2
        return None
    delta = None
    if "completeness" in card.claims and question.score is not None and question.baseline_score is not None:
        delta = gap(Values((values,)), question.score, question.baseline_score)
    if values.requires_grad or not sums_up([values, question.score] if delta is None else [delta]):
        return None
    return Attribution(
        values.to(inputs.dtype), card.name, card.defaults | options, question.score, question.baseline_score, delta,
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
    """Whether inputs are one dense tensor of real numbers with rows, which autograd can take part in."""
    return (
        type(inputs) is Tensor
        and is_dense(inputs)
        and inputs.is_floating_point()
        and inputs.ndim > 0
        and inputs.numel() > 0
        and not inputs.is_inference()
    )
