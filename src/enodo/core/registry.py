"""Methods by name: each is a function of a Question, with a Card that the command line, the docs and the tests read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, TypeVar

from .errors import BadType, about, describe, nearest, refuse
from .threads import cached_property

_KINDS = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "text", "None": "None"}
PLAIN_KINDS = re.compile(r"(int|float|bool|str)( \| (int|float|str|None))*")  # annotations that say all of an option

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Card:
    """What a method is, in a form that people and programs read."""

    name: str
    fn: Callable[..., Any]
    title: str = ""
    paper: str = ""
    when: str = ""  # when to use it, in one or two sentences for a practitioner
    needs: frozenset[str] = frozenset({"gradient", "score"})  # of: gradient, score, baseline, background
    # of: completeness; each, where that holds at each of several places for itself; map, one channel instead of all;
    # shared, where values have a part in what others do; batch, where rows are compared with each other; once, where
    # a glance can answer (see `core.glance`); size, where values say how much and not for or against, unless some are
    # negative; layer, where it is meant for a network's last map, not for its inputs; cells, where it has masks of its
    # own for pictures
    claims: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    counts: str = "{}"  # the unit of a value; {} stands for points of score, or for what a method inside counts
    wants: Callable[[int], int] | None = None  # evaluations that n features want, where a budget is set by hand

    @property
    def summary(self) -> str:
        """The first line of the method's docstring, without marks of code: readers of reports see it."""
        return (inspect.getdoc(self.fn) or "").split("\n", 1)[0].replace("`", "")

    @cached_property
    def options(self) -> dict[str, inspect.Parameter]:
        """The method's own options: its keyword parameters, with defaults."""
        parameters = list(inspect.signature(self.fn).parameters.values())
        return {p.name: p for p in parameters[1:] if p.kind is not inspect.Parameter.VAR_KEYWORD}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The options that have a default, with it."""
        return {n: p.default for n, p in self.options.items() if p.default is not p.empty}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The options without a default."""
        return tuple(n for n in self.options if n not in self.defaults)

    def affords(self, evaluations: int) -> int:
        """The most features that a budget of evaluations does for, at least one."""
        wants = self.wants or (lambda n: n)
        return next(n for n in count(1) if wants(n + 1) > evaluations)

    @cached_property
    def open(self) -> bool:
        """Whether the method passes unknown options on to a method inside it."""
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(self.fn).parameters.values())


_cards: dict[str, Card] = {}  # by plain name


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    """A name without what people spell differently: "Grad-CAM++", "GradCAMPlusPlus" and "grad_cam_plus_plus"."""
    return "".join(filter(str.isalnum, name.replace("+", "plus"))).lower()


def method(
    name: str,
    *,
    title: str = "",
    paper: str = "",
    when: str = "",
    needs: str = "gradient score",
    claims: str = "",
    aliases: tuple[str, ...] = (),
    counts: str = "{}",
    wants: Callable[[int], int] | None = None,
) -> Callable[[Method], Method]:
    """Register a function `Question -> Values` as a method; see `Card` for the fields (`needs`, `claims`: words)."""

    def register(fn: Method) -> Method:
        card = Card(
            name,
            fn,
            title or name.replace("_", " "),
            paper,
            when,
            frozenset(needs.split()),
            frozenset(claims.split()),
            aliases,
            counts,
            wants,
        )
        for known in (name, *aliases):
            other = _cards.setdefault(_plain(known), card)
            if other.fn.__qualname__ != fn.__qualname__:
                refuse("name", repr(known), f"a name that no other method has; this is one of {other.name}")
            _cards[_plain(known)] = card
        return fn

    return register


def methods() -> dict[str, Card]:
    """Every registered method by its name."""
    return {card.name: card for card in _cards.values()}


def card_of(spec: str | Callable[..., Any]) -> Card:
    """The Card of a method given by name or as a function (registered or not)."""
    if isinstance(spec, str):
        found = _cards.get(_plain(spec))
        if found is None:
            names = [name for card in methods().values() for name in (card.name, *card.aliases)]
            refuse("method", repr(spec), "the name of a method, or a function of a Question", nearest(spec, names))
        return found
    if not callable(spec):
        refuse("method", spec, "the name of a method, or a function of a Question", kind=BadType)
    known = next((c for c in _cards.values() if c.fn is spec), None)
    return known or Card(
        getattr(spec, "__name__", type(spec).__name__), spec, needs=frozenset({"gradient", "score", "baseline"})
    )


def inside(inner: Any) -> tuple[Card, dict[str, Any]]:
    """The option `inner` of a method around another one: a method, or (method, {its options}) where names collide."""
    spec, options = inner if isinstance(inner, (tuple, list)) and len(inner) == 2 else (inner, {})
    with about("inner"):
        return card_of(spec), dict(options)


def with_options(card: Card, options: dict[str, Any]) -> Card:
    """The Card of a method asked with these options: one around another method needs what that one needs.

    The option `draw_baseline` makes the baseline a background of which each sample draws a row.
    """
    if "inner" not in card.options:
        return card
    needs = inside(options.get("inner", card.options["inner"].default))[0].needs | {"gradient"}
    return replace(card, needs=needs | {"background"} if options.get("draw_baseline") else needs)


TERMS = ("target", "baseline", "wrt", "args", "kwargs", "batch_size", "create_graph", "progress")  # of `explain` itself


def _fits(value: Any, kinds: list[str]) -> bool:
    """Whether a value is of one of the kinds, as Python, NumPy or a tensor of one number has them.

    Names are the method's to know: here they need but be what can be looked up.
    """
    if "str" in kinds:
        return isinstance(value, Hashable)
    if value is None or isinstance(value, str):
        return value is None and "None" in kinds
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "bool" in kinds
    if getattr(value, "ndim", 0) or not hasattr(value, "__float__"):
        return False
    whole = hasattr(value, "__index__") and not (hasattr(value, "is_floating_point") and value.is_floating_point())
    return "float" in kinds or (whole and ("int" in kinds or value in (0, 1)))


def check_options(card: Card, options: dict[str, Any]) -> None:
    """Refuse options that the method does not have, and values of another kind than theirs."""
    for name, value in options.items():
        if name not in card.options and not card.open:
            known = f"an option of {card.name}: {', '.join(card.options) or 'it has none'}"
            hint = nearest(name, [*card.options, *TERMS]) if card.options else ""
            refuse("options", repr(name), known, hint, BadType)
        takes = str(card.options[name].annotation) if name in card.options else ""
        if PLAIN_KINDS.fullmatch(takes) and not _fits(value, takes.split(" | ")):
            hint = "Write it without quotes." if isinstance(value, str) else ""
            refuse(name, describe(value), " or ".join(_KINDS[kind] for kind in takes.split(" | ")), hint, BadType)
    for name in card.required:
        if name not in options:
            refuse("options", f"{card.name} without {name!r}", f"{name}=..., which has no default", kind=BadType)
