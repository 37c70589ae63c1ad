"""`Where`: the place or places a question is asked about, and what one pass sees and does there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from . import tree as trees
from .errors import describe, refuse
from .lasting import dataclass as lasting
from .lookups import Lookup, Tracker
from .points import Point, Seen, Stop, part_of
from .values import WHOLE, Form, Values, check_real


@lasting(frozen=True, eq=False)
class Where:
    """Places asked about together; several Points make one vector."""

    points: tuple[Point, ...]
    names: tuple[str, ...]
    several: bool = False  # whether the answer is a tuple, one entry a Point
    ids: tuple[trees.Path, ...] = ()  # integer inputs, explained at the lookups they reach
    per_token: bool = True  # whether lookups are summed to one number a token
    whole: tuple[trees.Path, ...] = ()  # integer inputs that are values themselves, for methods without gradients
    at_inputs: bool = field(init=False)  # whether nothing but the inputs is asked about
    late: bool = field(init=False)  # whether all are layers of a given call, so that a pass may be left after the last

    def __post_init__(self) -> None:
        layers = [p for p in self.points if p.layer is not None]
        given = [p for p in layers if p.call is not None and p.call >= 0]
        object.__setattr__(self, "at_inputs", not layers)
        object.__setattr__(self, "late", len(given) == len(self.points))

    def check_apart(self, calls: Sequence[int]) -> None:
        """Refuse a place within another, where it would be set twice; `calls` says how often each layer ran."""
        met: list[tuple[tuple[Any, ...], str]] = []
        for point, name, ran in zip(self.points, self.names, calls, strict=True):
            call = ran - 1 if point.call in (None, -1) else point.call
            here = (id(point.layer), point.side, call, *point.path)
            for other, known in met:
                if all(a == b for a, b in zip(here, other, strict=False)):
                    refuse("wrt", f"{known} and {name}, of which one is the other or within it", "each place once")
            met.append((here, name))

    def whole_at(self, point: Point) -> list[trees.Path]:
        """The paths, within the value at `point`, of integers that are values themselves."""
        depth = len(point.path)
        return [p[depth:] for p in self.whole if point.side == "input" and p[:depth] == point.path]


@dataclass
class Sight:
    """What a pass saw: one Form a Point, how often each layer ran, the lookups of integer inputs."""

    where: Where
    forms: list[Form] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    leaves: list[list[Tensor]] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    aside: set[tuple[int, str]] = field(default_factory=set)  # integer inputs, and calls that led them past a lookup

    @property
    def values(self) -> Values:
        """All that was seen (or set), as one vector."""
        return Values([t for found in self.leaves for t in found] + self.vectors)

    def without_values(self) -> Sight:
        """What was found out about the places, without what lay there."""
        return Sight(self.where, self.forms, self.calls, self.lookups)

    @property
    def alike(self) -> bool:
        """Whether a pass with any number of rows sees the same: whole tensors, and no lookups."""
        return not self.lookups and all(form is WHOLE for form in self.forms)

    def check(self) -> None:
        """Refuse layers that did not run, or not as often as the call asked for, and places met twice."""
        for point, name, ran, form in zip(self.where.points, self.where.names, self.calls, self.forms, strict=True):
            if point.layer is not None and form is UNSEEN:
                given = f"{name}, which ran {ran} times in this forward pass"
                if ran:
                    refuse("wrt or of", given, f"a call from 0 to {ran - 1}")
                refuse(
                    "wrt or of",
                    given,
                    "a layer that runs",
                    "Its parent may use its weights directly: ask at the parent.",
                )
            if form.paths == () and point.side not in ("input", "embedding"):
                refuse("wrt or of", f"{name}, whose value is {describe(form.template)}", "floating-point values")
        if self.where.several:
            self.where.check_apart(self.calls)

    def integers(self, inputs: Any) -> Iterator[str]:
        """What a reader is to be told of integer inputs; refused where there is nothing that could be explained."""
        for number, (path, found) in enumerate(zip(self.where.ids, lookups_met(self), strict=True)):
            name = "inputs" + trees.spell(path)
            calls = sorted(call for n, call in self.aside if n == number)
            if found and calls:
                which = ", ".join(calls)
                yield f"{name} is also used past its embedding ({which}): what passes there is not explained."
            if found:
                continue
            if not len(self.values):
                given = f"{name} of dtype {trees.get(inputs, path).dtype}, which meets no embedding"
                expected = "floating-point inputs, or token ids that are looked up"
                refuse("inputs", given, expected, "Write x.float() for numbers.")
            yield f"{name} is integer and meets no embedding: gradients cannot explain it, its attribution is zero."


UNSEEN = Form(None, ())


class Visit:
    """One pass at a `Where`: sees the values there or, with `put`, sets them; `grad` makes them differentiable."""

    def __init__(self, where: Where, put: Values | None, grad: bool, keep: bool, known: Sight | None) -> None:
        self.where, self.grad, self.keep, self.known = where, grad, keep, known
        self.rows = 0  # of the pass, which says so; 0 where there is none
        n = len(where.points)
        self.sight = Sight(where, [UNSEEN] * n, [0] * n, [], [[] for _ in range(n)])
        self.given = self._deal(put, known) if put is not None and known is not None else None
        self.on_start: Callable[[Tensor], None] | None = None  # told of what the model is handed in their place

    def _deal(self, put: Values, known: Sight) -> list[list[Tensor]]:
        """The leaves of `put`, for each Point its own; then those of the lookups."""
        rest = iter(put.leaves)
        return [[next(rest) for _ in f.paths] for f in known.forms] + [[next(rest) for _ in known.lookups]]

    def start(self, t: Tensor, apart: bool = False) -> Tensor:
        """A tensor that gradients are taken of; the graph starts here unless it has to reach further back.

        What is the caller's own is taken `apart` from any graph of theirs.
        """
        if not self.grad:
            return t if self.keep and t.requires_grad else t.detach()
        # the clone is a place of its own: where the model uses a value twice, only what passes here counts
        return t.clone() if t.requires_grad and not apart else t.detach().requires_grad_()

    def _handed(self, t: Tensor) -> Tensor:
        """What the model goes on with: a clone, so that in-place code downstream leaves ours alone."""
        handed = t.clone()
        if self.grad and self.on_start is not None:
            self.on_start(handed)
        return handed

    def at(self, i: int, value: Any) -> Any:
        """See or set the value at the i-th Point; gives what the model goes on with."""
        return self.see(i, value).fill([self._handed(t) for t in self.sight.leaves[i]])

    def see(self, i: int, value: Any) -> Form:
        """See (or set) the value at the i-th Point."""
        point = self.where.points[i]
        also = self.where.whole_at(point) if self.where.whole else ()
        if point.layer is None:
            form, found = Form.of(value, also=also)
        else:
            form, found = Form.of(value, self.rows, lambda path: likely_dim(point, path))
        apart = point.side == "input" and not self.keep
        found = found if self.given is None else self.given[i]
        if self.grad:
            check_real(found, self.where.names[i])
        leaves = [self.start(t, apart) for t in found]
        self.sight.forms[i], self.sight.leaves[i] = form, leaves
        return form

    def see_inputs(self, inputs: Any) -> None:
        """See the inputs asked about, without a pass."""
        for i, point in enumerate(self.where.points):
            self.see(i, part_of(inputs, point))

    def inputs(self, inputs: Any) -> Any:
        """The inputs, after seeing or setting those asked about."""
        for i, point in enumerate(self.where.points):
            if point.side == "input":
                inputs = trees.put(inputs, point.path, self.at(i, part_of(inputs, point)))
        return inputs

    def lookup(self, found: Lookup, vectors: Tensor) -> Tensor:
        """See or set the vectors of one lookup."""
        k = len(self.sight.lookups)
        vectors = self.start(vectors if self.given is None else self.given[-1][k])
        self.sight.lookups.append(found)
        self.sight.vectors.append(vectors)
        return self._handed(vectors)

    def layers(self, leave: bool) -> list[tuple[Point, Seen]]:
        """The layers asked about, each with what is to see it; they `leave` the pass once all have been seen."""
        points = enumerate(self.where.points)
        return [(point, self._on_call(i, point, leave)) for i, point in points if point.layer is not None]

    def _on_call(self, i: int, point: Point, leave: bool) -> Seen:
        wanted = None if point.call == -1 else point.call
        if self.known is not None and wanted is None:
            wanted = self.known.calls[i] - 1  # how often it runs is known by now

        def visit(value: Any, call: int) -> Any:
            self.sight.calls[i] = call + 1
            if wanted is not None and call != wanted:
                return value
            out = self.at(i, value)
            if leave and all(form is not UNSEEN for form in self.sight.forms):
                raise Stop
            return out

        return visit

    def tracker(self, inputs: Any, rows: int) -> Tracker:
        """What follows the integer inputs of this pass, whose lookups are asked about."""
        ids = [trees.get(inputs, path) for path in self.where.ids]
        return Tracker(rows, ids, self.lookup, self.sight.aside)


def told(values: Values, sight: Sight, inputs: Any, lead: int) -> Values:
    """Values at a place with one number a token in the place of the vectors that token ids look up.

    `lead` counts the dimensions before the batch (1 for several targets).
    """
    where, vectors = sight.where, len(values) - len(sight.lookups)
    if not (where.ids and where.per_token):
        return values
    shapes = [trees.get(inputs, path).shape[1:] for path in where.ids]
    sizes = [shape.numel() for shape in shapes]
    looked_up = zip(sight.lookups, values.leaves[vectors:], strict=True)
    sums = [found.per_token(v, lead, sum(sizes)) for found, v in looked_up]
    each = torch.stack(sums).sum(0).split(sizes, -1) if sums else ()
    tokens = [t.unflatten(-1, shape) if len(shape) else t[..., 0] for t, shape in zip(each, shapes, strict=bool(sums))]
    met = lookups_met(sight)
    return Values([*values.leaves[:vectors], *(t for t, found in zip(tokens, met, strict=bool(sums)) if found)])


def present(values: Values, sight: Sight, inputs: Any, lead: int) -> Any:
    """Values as they are `told`, in the structure found at the place.

    What cannot be explained is zero (integer inputs that met no lookup) or None (what is no tensor).
    """
    where = sight.where
    if not where.ids and len(sight.forms) == 1:
        part = sight.forms[0].fill_blank(values.leaves, values.leaves[0] if values.leaves else None, lead)
        return (part,) if where.several else part
    rest = iter(values.leaves)
    like = values.leaves[0] if len(values) else None
    parts = [form.fill_blank([next(rest) for _ in form.paths], like, lead) for form in sight.forms]
    vectors = list(rest)
    if where.ids and where.per_token:
        i = next(i for i, p in enumerate(where.points) if p.side == "input")
        depth = len(where.points[i].path)
        met = [path for path, found in zip(where.ids, lookups_met(sight), strict=True) if found]
        for path, tokens in zip(met, vectors, strict=True):
            parts[i] = trees.put(parts[i], path[depth:], tokens)
    elif where.ids:
        parts = [vectors[0] if len(vectors) == 1 else tuple(vectors)]
    return tuple(parts) if where.several else parts[0]


def row_dims(sight: Sight) -> Any:
    """For each tensor of what `present` gives, which of its dimensions counts the rows (not counting the leading)."""
    parts = [form.row_dims for form in sight.forms]
    if sight.where.ids and not sight.where.per_token:
        return 0 if len(sight.vectors) == 1 else (0,) * len(sight.vectors)
    return tuple(parts) if sight.where.several else parts[0]


def captured(value: Any, point: Point, rows: int) -> Any:
    """A copy of the value at a layer, which in-place code that follows leaves alone.

    The rows are first, also where the layer has them second, as a recurrent layer does.
    """
    for path, t in list(trees.leaves(value)):
        if isinstance(t, Tensor):
            d = likely_dim(point, path)
            found = t.clone()
            value = trees.put(value, path, found.movedim(d, 0) if t.ndim > d and t.shape[d] == rows else found)
    return value


def likely_dim(point: Point, path: trees.Path) -> int:
    """The dimension that counts the rows in a layer's value: recurrent and attention layers may have it second."""
    layer, path = point.layer, (*point.path, *path)
    if isinstance(layer, nn.RNNBase) and path and path[0] == 1:
        return 1  # the states, (layers, B, H), whatever batch_first says
    # asked of what lies where modules keep it: they search long for what they do not have
    first = vars(layer).get("batch_first")
    if first is None and "self_attn" in vars(layer).get("_modules", ()):
        first = getattr(layer.self_attn, "batch_first", None)  # type: ignore[union-attr]
    return int(first is False and not (isinstance(layer, nn.MultiheadAttention) and path[:1] == (1,)))


def lookups_met(sight: Sight) -> Sequence[bool]:
    """For each integer input, whether a lookup was met."""
    return [any(n in found.inputs for found in sight.lookups) for n in range(len(sight.where.ids))]
