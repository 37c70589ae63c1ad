"""`Table`: operations, and how each is treated in a pass under `Rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .errors import BadArgument, BadType, describe, nearest, refuse
from .ledger import Entry
from .operations import Bound, is_operation, spelling

Pull = Callable[[Tensor], Sequence[Tensor | None]]


class UnknownOperation(BadArgument):
    """An operation on the path of gradients for which a table has no rule."""


@dataclass
class Op:
    """One call of an operation, as a rule sees it."""

    name: str
    call: Bound  # of the operands; all else is bound
    xs: Sequence[Tensor]  # the operands: its floating-point tensors, in the order of the arguments
    y: Tensor
    live: Sequence[bool]  # which operands the gradient is wanted of
    aux: tuple[Tensor, ...] = ()  # further results, without gradient
    at: Entry | None = None  # the same call at the baseline, where the table compares
    graph: tuple[Sequence[Tensor], Tensor] | None = None  # operands and result as autograd has them, if made already

    def vjp(self, gy: Tensor) -> list[Tensor | None]:
        """The operation's own gradient of each operand."""
        if self.graph is None:
            self.graph = self.call.traced(self.xs, self.live)[:2]
        xs, y = self.graph
        wanted = [x for x, live in zip(xs, self.live, strict=True) if live]
        keep = torch.is_grad_enabled()
        found = iter(torch.autograd.grad(y, wanted, gy, retain_graph=True, create_graph=keep, allow_unused=True))
        return [next(found) if live else None for live in self.live]

    @property
    def only(self) -> int:
        """Which operand is on the path, of a function of one of them."""
        if len(self.xs) == 1:
            return 0
        found = [i for i, live in enumerate(self.live) if live]
        if len(found) != 1:
            given = f"{self.name!r} with {len(found)} arguments on the path of gradients"
            instead = f"Give a rule: rules={{{self.name!r}: rule}}."
            raise UnknownOperation("model", given, "a function of one of them", instead)
        return found[0]


Rule = Callable[[Op], Pull]


def closed(rule: Rule) -> Rule:
    """A rule that works its answer out of numbers alone: the operation is done without a graph for `Op.vjp`."""
    rule.closed = True  # type: ignore[attr-defined]
    return rule


@dataclass(frozen=True)
class Slope:
    """A rule for functions of one number: the gradient of each entry is multiplied by what `of` says, a closed rule.

    So its node can be that of a product, which autograd has by itself.
    """

    of: Callable[[Op], Tensor]
    needs_result: bool = True  # that at the baseline
    closed = True

    def __call__(self, op: Op) -> Pull:
        i, slope, count = op.only, self.of(op), len(op.xs)
        shape, dtype = op.xs[i].shape, op.xs[i].dtype

        def pull(gy: Tensor) -> list[Tensor | None]:
            g = gy * slope
            g = g if g.shape == shape and g.dtype == dtype else g.sum_to_size(shape).to(dtype)
            return [g] if count == 1 else [g if k == i else None for k in range(count)]

        return pull


@dataclass(frozen=True)
class Bend:
    """A rule: the operation's own gradient of what `fn` makes of the gradient of its result."""

    fn: Callable[[Tensor], Tensor]

    def __call__(self, op: Op) -> Pull:
        return lambda gy: op.vjp(self.fn(gy))


def own(op: Op) -> Pull:
    """The operation's own gradient, as a rule."""
    return op.vjp


@dataclass(frozen=True)
class Plain:
    """The operation's own gradient is what the method wants: it is linear in what is on the path.

    by      does the same as the operation, where torch takes the gradient of that slowly
    alone   whether that pays for one gradient too, not only where many are taken through the same pass
    moves   it but lays values out anew, so that its gradient keeps none of them
    """

    by: Callable[..., Any] | None = None
    alone: bool = True
    moves: bool = False


PLAIN, MOVED = Plain(), Plain(moves=True)


@dataclass(frozen=True)
class Decompose:
    """The operation is done by this function instead, of simpler operations that the table treats."""

    fn: Callable[..., Any]


@dataclass(frozen=True)
class Refuse:
    """The operation cannot be treated; `why` completes "the operation ..."."""

    why: str


@dataclass(frozen=True)
class Depends:
    """What happens depends on the arguments: `choose(*args, **kwargs)` names the treatment."""

    choose: Callable[..., Any]


TREATMENTS = (Plain, Decompose, Refuse, Depends)  # besides rules, which can be called
Treatment = Rule | Plain | Decompose | Refuse | Depends


class Trail(Protocol):
    """Follows a pass, for tables whose treatments depend on what came before or comes after."""

    def before_write(self) -> None:
        """Something is about to be written in place."""

    def made(self, call: Bound, rule: Rule, out: Any) -> None:
        """A ruled operation has been done."""

    def after(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        """A call has been done, on the path of gradients or not."""


@dataclass(frozen=True)
class Table:
    """Operations and how each is treated. `table | {F.relu: rule}` is a table with one more.

    Keys are any spelling of an operation, or its name; or a module of the model, for all that it does itself but moving
    data. An operation that is not in the table is looked into if it is
    made of others; else it has its own gradient where `others` is PLAIN, and is refused where it is None.
    """

    entries: Mapping[str, Treatment] = field(default_factory=dict)
    others: Plain | None = None
    compares: bool = False  # whether the rules need the values at the baseline
    modules: Mapping[Any, Treatment] = field(default_factory=dict)
    trail: Trail | None = None

    def __or__(self, more: Table | Mapping[Any, Treatment]) -> Table:
        if isinstance(more, Table):
            both = {**self.entries, **more.entries}
            modules = {**self.modules, **more.modules}
            compares, trail = self.compares or more.compares, self.trail or more.trail
            return Table(both, self.others or more.others, compares, modules, trail)
        if not isinstance(more, Mapping):
            refuse("rules", describe(more), "a mapping, {operation: rule}", kind=BadType)
        for key, value in more.items():
            if not (callable(value) or isinstance(value, TREATMENTS)):
                refuse("rules", f"{value!r} for {key!r}", "a rule, a function of an `Op`", kind=BadType)
        modules = {key: value for key, value in more.items() if isinstance(key, nn.Module)}
        named = {self.name_of(key): value for key, value in more.items() if not isinstance(key, nn.Module)}
        return replace(self, entries={**self.entries, **named}, modules={**self.modules, **modules})

    def within(self, model: Any, rules: Any) -> Table:
        """`self | rules`, for a mapping whose keys may be types, names and patterns of modules of the model as well."""
        if not rules or isinstance(rules, Table) or not isinstance(rules, Mapping):
            return self | rules if rules else self
        found: dict[Any, Treatment] = {}
        for key, rule in rules.items():
            modules = None if isinstance(key, str) and key in self.entries else modules_of(key, model)
            for place in [key] if modules is None else modules:
                found[place] = rule
        return self | found

    def name_of(self, key: Any) -> str:
        """The name of an operation, of which a rule that could never be met is refused."""
        if not (callable(key) or isinstance(key, str)):
            refuse("rules", f"a rule for {key!r}", "an operation such as torch.relu, its name, or a module")
        name = key if isinstance(key, str) else spelling(key).name
        if name not in self.entries and not is_operation(name):
            own = "A function of your own becomes one with the decorator enodo.rules.operation."
            instead = nearest(key, self.entries) if isinstance(key, str) else own
            refuse("rules", f"a rule for {key!r}", "an operation of torch, by name or as a function", instead)
        return name


def modules_of(key: Any, model: Any) -> list[nn.Module] | None:
    """The modules that a key of rules stands for: itself, those of a type, of a name, in it, or of a pattern of names.

    None if it stands for an operation. What stands for no module of the model is refused.
    """
    if isinstance(key, nn.Module):
        return [key]
    named = [*model.named_modules(remove_duplicate=False)] if isinstance(model, nn.Module) else []
    if isinstance(key, type) and issubclass(key, nn.Module):
        found = [m for _, m in named if isinstance(m, key)]
        if not found:
            given = f"a rule for modules of type {key.__name__}, of which the model has none"
            instead = "Functions count where the operation is named: {torch.nn.functional.relu: rule}."
            refuse("rules", given, "a type that the model has modules of", instead)
        return found
    if not isinstance(key, str):
        return None
    found = [m for name, m in named if name == key or fnmatchcase(name, key) or name.startswith(f"{key}.")]
    if named and not found and any(c in key for c in "*?[.") and not is_operation(key):
        names = [name for name, _ in named]
        refuse("rules", f"{key!r}, which is the name of no module", "a module of the model", nearest(key, names))
    return found or None


PLAIN_TABLE = Table(others=PLAIN)
