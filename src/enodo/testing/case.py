"""`Case`, a small model with what it is asked; `Trial`, a method asked about a case; `LawBroken`, what a law says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from enodo import INPUT, OUTPUT, Attribution, Card, Point, explain
from enodo.core import tree as trees
from enodo.core.registry import card_of
from enodo.core.threads import cached_property

Tree = Any  # nested containers of tensors


class LawBroken(AssertionError):
    """A method does not keep a law: which one, on which question, and the numbers."""

    def __init__(self, law: str, trial: object, what: str) -> None:
        self.law, self.what = law, what
        super().__init__(f"law {law!r} is broken by {trial}: {what}")


@dataclass(frozen=True)
class Case:
    """A model and its inputs, with the question that laws ask about it; rows first everywhere."""

    name: str
    model: Callable[..., Any]
    inputs: Tree
    target: Any = None
    baseline: Any = None
    layers: tuple[str, ...] = ()  # layers with one tensor as value, through which all of the score passes
    neuron: Any = 0  # a target at the first of `layers`
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    smooth: bool = True  # whether the score is a smooth function, on which quadratures converge fast

    @property
    def rows(self) -> int:
        """B."""
        return next(len(t) for _, t in trees.leaves(self.inputs) if isinstance(t, Tensor) and t.ndim)

    @property
    def has_ids(self) -> bool:
        """Whether some inputs are integers."""
        return not all(t.is_floating_point() for _, t in trees.leaves(self.inputs) if isinstance(t, Tensor))

    @property
    def given(self) -> tuple[Tree, ...]:
        """All that the model is called on."""
        return self.inputs, self.args, dict(self.kwargs)

    def take(self, index: list[int], baseline: bool = True) -> Case:
        """The case with these of its rows; `baseline` tells whether the baseline has rows that belong to them."""

        def some(t: Any) -> Any:
            return t[index] if isinstance(t, Tensor) and t.ndim and len(t) == self.rows else t

        names = ("inputs", "args", "baseline") if baseline else ("inputs", "args")
        whole = {name: trees.map_tree(some, getattr(self, name)) for name in names}
        mask = isinstance(self.target, Tensor) and self.target.dtype == torch.bool  # of one row's output
        target = [self.target[i] for i in index] if isinstance(self.target, list) else self.target
        target = target if mask else some(target)
        return replace(self, target=target, kwargs=trees.map_tree(some, dict(self.kwargs)), **whole)

    def call(self) -> Any:
        """The model's output for a copy of what it is given, called as its user calls it."""
        x, args, kwargs = trees.map_tree(lambda t: t.clone() if isinstance(t, Tensor) else t, self.given)
        if isinstance(x, Mapping):
            return self.model(*args, **x, **kwargs)
        plain = isinstance(x, (tuple, list)) and not hasattr(x, "_fields")
        return self.model(*(x if plain else (x,)), *args, **kwargs)

    def to(self, dtype: torch.dtype) -> Case:
        """A copy of the case in another floating-point dtype."""
        return self._sent(lambda t: t.to(dtype) if t.is_floating_point() else t, dtype)

    def on(self, device: torch.device | str) -> Case:
        """A copy of the case on another device."""
        return self._sent(lambda t: t.to(device), torch.device(device))

    def _sent(self, change: Callable[[Tensor], Tensor], where: Any) -> Case:
        def changed(t: Any) -> Any:
            return change(t) if isinstance(t, Tensor) else t

        model = copy.deepcopy(self.model).to(where) if isinstance(self.model, torch.nn.Module) else self.model
        whole = {n: trees.map_tree(changed, getattr(self, n)) for n in ("inputs", "baseline", "args", "target")}
        return replace(self, model=model, kwargs=trees.map_tree(changed, dict(self.kwargs)), **whole)


@dataclass(frozen=True)
class Trial:
    """A method with its options, asked about a case at one pair of places."""

    method: str | Callable[..., Any]
    case: Case
    options: Mapping[str, Any] = field(default_factory=dict)
    wrt: Any = INPUT
    of: Any = OUTPUT
    claims: frozenset[str] | None = None  # what a method without a Card claims

    @cached_property
    def card(self) -> Card:
        """The method's Card."""
        card = card_of(self.method)
        return card if self.claims is None else replace(card, claims=self.claims)

    @property
    def at_inputs(self) -> bool:
        """Whether the inputs are asked about."""
        return self.wrt is INPUT

    @property
    def question(self) -> dict[str, Any]:
        """The arguments of `explain` besides model, inputs and method."""
        case = self.case
        target = case.target if isinstance(self.of, Point) and self.of == OUTPUT else case.neuron
        whole = {"target": target, "baseline": case.baseline, "wrt": self.wrt, "of": self.of, "args": case.args}
        return {**whole, "kwargs": case.kwargs, **self.options}

    def __call__(self, **changes: Any) -> Attribution:
        """The method's answer; `changes` replace arguments of `explain`, or model and inputs."""
        asked = {"model": self.case.model, "inputs": self.case.inputs, "method": self.method}
        return explain(**(asked | self.question | changes))

    def of_case(self, case: Case) -> Trial:
        """The same question about another case."""
        return replace(self, case=case)

    def of_rows(self, index: list[int]) -> Trial:
        """The same question about some of the rows; a background is for all of them."""
        return self.of_case(self.case.take(index, baseline="background" not in self.card.needs))

    def broken(self, law: str, what: str) -> NoReturn:
        """Say that a law does not hold."""
        raise LawBroken(law, self, what)

    def __str__(self) -> str:
        places = ", ".join(map(str, self.wrt)) if isinstance(self.wrt, (list, tuple)) else str(self.wrt)
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.card.name} of {self.of} with respect to {places} on {self.case.name}{options}"


def parts(values: Tree) -> list[Tensor]:
    """The tensors of an answer, in order."""
    return [t for _, t in trees.leaves(values.values if isinstance(values, Attribution) else values) if t is not None]


def distance(found: Tree, expected: Tree) -> float:
    """The largest difference, relative to the largest number expected (absolute below 1); infinite across shapes."""
    pairs = list(zip(parts(found), parts(expected), strict=False))
    if len(pairs) != len(parts(found)) or any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    worst = 0.0
    for a, b in pairs:
        ours, true = (t.detach().to("cpu", torch.float64) for t in (a, b))
        gap = ((ours - true).abs().max() / true.abs().max().clamp(min=1)).item() if a.numel() else 0.0
        worst = max(worst, float("inf") if gap != gap else gap)
    return worst


def need_equal(trial: Trial, law: str, found: Tree, expected: Tree, what: str, tol: float = 1e-9) -> None:
    """Raise `LawBroken` unless two answers agree to `tol` (see `distance`)."""
    gap = distance(found, expected)
    if not gap <= tol:
        shapes = [[tuple(t.shape) for t in parts(side)] for side in (found, expected)]
        detail = f"shapes {shapes[0]} and {shapes[1]}" if gap == float("inf") else f"they differ by {gap:.2g}"
        trial.broken(law, f"{what}: {detail}, {tol:g} is allowed")
