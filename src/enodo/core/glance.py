"""Questions so plain that asking them takes longer than the pass: one float tensor, one place, a small model.

Methods that put one question, `gradient` at the inputs or `activation` at a layer ("once" among their claims), meet a
`Glance` there instead of a Question, which makes the same pass with none of the terms that such a question leaves open.
Whatever is not as plain, or goes wrong in a way that takes words, is left to the full question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from . import targets, vjp
from .budget import Budget, is_out_of_memory
from .gather import described, sums_up
from .places import likely_dim
from .points import INPUT, OUTPUT, Point, Watched, locate
from .registry import Card
from .result import Attribution, provenance
from .state import State, eager
from .transforms import level
from .values import Values


class NotPlain(Exception):
    """What was met takes a full question."""


class Glance:
    """What a method of one pass asks its question; leaves (B, ...)."""

    __slots__ = ("model", "point", "scores", "settled", "target", "x")

    def __init__(self, model: Callable[..., Any], x: Tensor, target: Any, point: Point) -> None:
        self.model, self.x, self.target, self.point = model, x, target, point
        self.settled = target
        self.scores: Tensor | None = None

    def gradient(self) -> tuple[Values, Values]:
        """The inputs, and the gradient of the score there."""
        if self.point is not INPUT:
            raise NotPlain
        rows = self.x.shape[0]
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            output = self.model(x.clone())  # a clone, which in-place code may change
            if targets.unsettled(self.target):
                self.settled = targets.settle(self.target, output, rows)
            scores = targets.selector(self.settled, rows)(output)
        self.scores = scores.detach()
        (g,) = vjp.gradients(scores, Values((x,)), 1, False)
        if g is None:
            raise NotPlain
        return Values((self.x.detach(),)), Values((g,))

    def activation(self) -> Values:
        """The value of a layer that runs once and gives one tensor with its rows first."""
        if self.point is INPUT:
            raise NotPlain
        rows, seen = self.x.shape[0], list[Tensor | None]()

        def see(value: Any, call: int) -> Any:
            plain = type(value) is Tensor and value.shape[:1] == (rows,) and value.is_floating_point()
            seen.append(value.detach().clone() if plain else None)  # a clone, which in-place code leaves alone
            return value

        with torch.no_grad(), Watched([(self.point, see)]):
            self.model(self.x.detach().clone())
        if len(seen) != 1 or seen[0] is None:
            raise NotPlain
        return Values((seen[0],))


def glanced(card: Card, options: dict[str, Any], model: Any, inputs: Any, terms: dict[str, Any]) -> Attribution | None:
    """The answer of a method to a plain question, but for its seconds; None where the question is not plain.

    Where its one pass runs out of memory the terms get a `batch_size` of half the rows, for the full question.
    """
    if level() or not (_bare(terms) and _plain(inputs) and callable(model)):
        return None
    model = eager(model)
    state, rows = State.of(model), inputs.shape[0]
    if state.training or state.compiled or state.copies or state.shortcuts:
        return None
    budget = Budget(terms["batch_size"], state.weights, inputs.nbytes // rows)
    point, name = locate(terms["wrt"], model, "wrt")
    special = point.path or point.call is not None or (point.layer is not None and likely_dim(point, ()))
    if not budget.light or budget.limit < rows or special or (point.layer is None and point is not INPUT):
        return None
    target = targets.prepare(terms["target"], rows)
    if callable(target) or isinstance(target, targets.Each) or target == "all":  # perhaps several scores a row
        return None
    question = Glance(model, inputs, target, point)
    try:
        with torch.no_grad():
            values: Tensor = card.fn(question, **options).leaves[0]
    except NotPlain:
        return None
    except (RuntimeError, MemoryError) as error:
        if rows == 1 or not is_out_of_memory(error):
            raise
        terms["batch_size"] = rows // 2
        return None
    if not sums_up([values, question.scores]):
        return None
    return Attribution(
        values, card.name, card.defaults | options,
        scores=question.scores, target=described([question.settled]), wrt=name, rows=rows, batch_size=budget.limit,
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
        and inputs.layout is torch.strided
        and inputs.is_floating_point()
        and inputs.ndim > 0
        and inputs.numel() > 0
        and not inputs.is_inference()
    )
