"""`Propagation`: follows one pass of relevance propagation.

It chooses the rule of each layer with weights by where the layer stands, has batch norms merged into layers, and knows
to which values relevance is carried outright.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from enodo.core.operations import Bound, caller, is_live, running_module, tensors_in
from enodo.core.tables import PLAIN, Decompose, Depends, Op, Plain, Pull, Refuse, Rule, Treatment, own

from . import merging
from .carry import Carried, carrying
from .composites import COMPOSITES
from .layer import WEIGHTED, Layer, Shares, Weighted, aimed, has_live_bias, layer_of, roles, with_bias_apart
from .norm import Norm

_BELOW = "_below_weights"


class Deferred:
    """A rule's answer, worked out when it is first wanted: where a batch norm follows, it never is."""

    def __init__(self, make: Callable[[], Pull]) -> None:
        self.make: Callable[[], Pull] | None = make

    def settle(self) -> Pull:
        """The answer."""
        if self.make is not None:
            self.pull, self.make = self.make(), None
        return self.pull

    def __call__(self, gy: Tensor) -> Any:
        return self.settle()(gy)


@dataclass
class Propagation:
    """The rules of layers with weights in a pass; None is LRP-0.

    A rule set on a module counts before one for an operation, that before `first` and `last` (for layers that no other
    stands before or after), and these before `rules`, which has a default for each operation. Which layers are the last
    is known once a pass has been surveyed.
    """

    rules: Mapping[str, Weighted | None]
    product: Treatment  # for products of what is on the path
    first: Weighted | None = None
    last: Weighted | None = None
    by_name: Mapping[str, Weighted] = field(default_factory=dict)
    by_module: Mapping[nn.Module, Weighted] = field(default_factory=dict)
    merge: bool = True  # batch norms into the layers beside them
    measures: bool = False  # whether rules are to tell all relevance that they lose
    names: list[str] | None = None  # filled with the modules of the layers of a pass

    def __post_init__(self) -> None:
        placed = [*self.rules.values(), *self.by_name.values(), *self.by_module.values(), self.last]
        self.everywhere = any(rule is not None and rule.outright for rule in placed)
        self._deferred: weakref.WeakSet[Deferred] = weakref.WeakSet()
        self._calls = 0  # of layers, in all passes
        self._each = 0  # how many a pass makes; 0 before it has been surveyed
        self._not_last: set[int] = set()
        self.lost: dict[int, list[Tensor]] = {}  # relevance, by the call of the layer that lost it

    # ---------------------------------------------------------------- what a pass tells
    def before_write(self) -> None:
        """Have all rules read the values as they are now."""
        for one in list(self._deferred):
            one.settle()
        self._deferred.clear()

    def made(self, call: Bound, rule: Rule, out: Any) -> None:
        """Remember which layer made a value, for a batch norm that may follow."""
        placed = getattr(rule, "placed", None)
        if placed is not None and self.merge:
            op, placed.op = placed.op, None
            layer = None if op is None else functools.partial(placed.layer_of, op)
            versions = placed.x._version, out._version
            made = merging.Made(
                placed.name, placed.call, placed.x, layer, placed.shares, versions, placed.arrives, placed.onward
            )
            merging.remember(out, made)

    def after(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        """Remember what a batch norm made, and what has a layer with weights before it."""
        if self.merge and name == "batch_norm" and isinstance(out, Tensor) and out.requires_grad:
            norm = Norm.of(*args, **kwargs)
            if norm.mean is not None and merging.made_by(norm.x) is None:
                merging.remember_norm(out, norm)
        if self.first is None and (self.last is None or self._each):
            return
        before: set[int] = set().union(*map(self._before, _tensors(args, kwargs)))
        if name in WEIGHTED:
            self._not_last |= before
            before = {self._calls}
        if before:
            for t in _tensors((out, args[0]) if name in ("setitem", "copy") else (out,), {}):
                setattr(t, _BELOW, (self, before | self._before(t)))

    def surveyed(self) -> None:
        """Be told that a pass has been made in which no rule was asked."""
        self._each = self._calls

    def _before(self, t: Tensor) -> set[int]:
        """The calls of layers that stand before a value, with nothing but other operations between; by number."""
        of, calls = getattr(t, _BELOW, (None, set()))
        return calls if of is self else set()

    def _below(self, t: Tensor) -> bool:
        return bool(self._before(t))

    def carried_to(self, t: Tensor) -> bool:
        """Whether relevance is carried to a value outright."""
        return self.everywhere or (self.first is not None and self.first.outright and not self._below(t))

    # ---------------------------------------------------------------- how operations are treated
    def treatments(self, entries: Mapping[str, Treatment], moves: frozenset[str]) -> dict[str, Treatment]:
        """A table's entries, and those of layers and norms; `moves` leave values as they are."""
        found = {**entries, "batch_norm": Depends(self._norm), **{name: self._layer(name) for name in WEIGHTED}}
        if self.everywhere or (self.first is not None and self.first.outright):
            found = {name: t if name in moves or name in WEIGHTED else self._carry(t) for name, t in found.items()}
        found["layer_and_norm"] = merging.rule_with_norm_after(self.defer)
        found["norm_and_layer"] = Depends(self._with_norm_before)
        return found

    def _layer(self, name: str) -> Depends:
        def choose(*args: Any, **kwargs: Any) -> Treatment:
            call = Bound(getattr(F, name, None) or getattr(torch, name), args, kwargs)
            if has_live_bias(name, call):
                return Decompose(lambda *_, **__: with_bias_apart(name, call))
            if sum(map(is_live, call.operands)) > 1:
                return self.product
            x = call.operands[roles(name, call)[0]]
            self._calls += 1
            if self.names is not None:
                self.names.append(caller().module)
            rule = self._rule(name, x) if is_live(x) else None  # else it is linear in weights that the model computes
            if rule is None or x.is_complex():  # which has no sign
                return self._carry(PLAIN).choose(*args, **kwargs)  # type: ignore[no-any-return]
            norm = merging.norm_of(x)
            if norm is not None and merging.fits(name, call, x):
                return Decompose(lambda *_, **__: merging.norm_and_layer(norm.x, x, norm, name, call, rule))
            return Placed(self, name, call, x, rule, layer_of)

        return Depends(choose)

    def _rule(self, name: str, x: Tensor) -> Weighted | None:
        module = running_module() if self.by_module else None
        if module is not None and module in self.by_module:
            return self.by_module[module]
        if name in self.by_name:
            return self.by_name[name]
        if self.first is not None and not self._below(x):
            return self.first
        if self.last is not None and self._each and (self._calls - 1) % self._each + 1 not in self._not_last:
            return self.last
        return self.rules[name]

    def _norm(self, *args: Any, **kwargs: Any) -> Treatment:
        norm = Norm.of(*args, **kwargs)
        usual: Treatment = COMPOSITES["batch_norm"].choose(*norm.arguments)  # type: ignore[union-attr]
        made = merging.made_by(norm.x)
        if made is None or not isinstance(usual, Plain):
            return usual
        # where rules are at work, nothing goes back from here to the layer itself
        y = norm.x if made.layer is None else norm.x.detach()
        return Decompose(lambda *_, **__: merging.layer_and_norm(made.x, y, norm, made))

    def _with_norm_before(self, x: Tensor, u: Tensor, norm: Any, name: str, call: Bound, rule: Weighted) -> Treatment:
        return Placed(self, name, call, x, rule, merging.layer_with_norm_before)

    def _carry(self, treatment: Treatment) -> Depends:
        """A treatment with which relevance is carried on."""

        def choose(*args: Any, **kwargs: Any) -> Treatment:
            found = treatment.choose(*args, **kwargs) if isinstance(treatment, Depends) else treatment
            floats = [t for _, t in tensors_in(args, kwargs) if t.is_floating_point() or t.is_complex()]
            to = [is_live(t) and self.carried_to(t) for t in floats]
            if isinstance(found, (Refuse, Decompose)) or not any(to):
                return found
            below = any(map(self._below, floats))
            onward, first = self.everywhere or not below, self.first is not None and not below
            if isinstance(found, Plain):
                return Carried(own, to, onward, first, True)
            return Carried(found, to, onward, first, False)

        return Depends(choose)

    def defer(self, make: Callable[[], Pull]) -> Pull:
        """An answer that waits; but not where derivatives of it are wanted."""
        if torch.is_grad_enabled():
            return make()
        one = Deferred(make)
        self._deferred.add(one)
        return one


class Placed:
    """The rule of one call of a layer with weights."""

    def __init__(
        self, at: Propagation, name: str, call: Bound, x: Tensor, rule: Weighted, layer: Callable[[Op], Layer]
    ) -> None:
        self.at, self.name, self.call, self.x, self.layer, self.rule = at, name, call, x, layer, rule
        self.onward, self.arrives = at.everywhere, at.carried_to(x) or rule.outright
        self.shares: Shares = carrying(rule, at.carried_to(x), self.onward) if self.arrives else rule.shares
        self.op: Op | None = None  # once it has been asked about
        self.lost = at.lost.setdefault(at._calls, [])

    @property
    def placed(self) -> Placed:
        """Itself; a rule around it has it too."""
        return self

    def layer_of(self, op: Op) -> Layer:
        """The layer, which tells what relevance it loses."""
        layer = self.layer(op)
        layer.lost, layer.measured = self.lost, self.at.measures
        return layer

    def __call__(self, op: Op) -> Pull:
        self.op, i, count = op, 0 if self.layer is not layer_of else roles(op.name, op.call)[0], len(op.xs)
        self.to = [self.arrives and k == i for k in range(count)]
        return self.at.defer(lambda: aimed(self.shares(self.layer_of(op)), i, count))


def _tensors(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for _, t in tensors_in(args, kwargs):
        yield t
