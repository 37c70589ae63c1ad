"""Values filled in by a function of the user's where they are absent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from . import tree as trees
from .errors import describe, refuse
from .values import Values

if TYPE_CHECKING:
    from .asked import Asked


def painted(q: Asked, fn: Callable[[Any, Any], Any], present: list[Tensor], k: int) -> Values:
    """The values at k points, (k, B, ...), as fn(values, absent) returns them for k * B rows."""
    x = q.x
    values = x.map(lambda t: t.repeat(k, *[1] * (t.ndim - 1)))  # a copy: `fn` may write into it
    absent = Values((~m).expand(k, *t.shape).flatten(0, 1) for m, t in zip(present, x.leaves, strict=True))
    found = fn(_structure(q, values), _structure(q, absent))
    forms = [form for form in q.sight.forms if form.paths]
    leaves: list[Any] = []
    for number, form in enumerate(forms):
        part = found[number] if len(forms) > 1 else found
        leaves += [trees.get(part, path) for path in form.paths]
    for new, old in zip(leaves, values.leaves, strict=True):
        if not isinstance(new, Tensor) or new.shape != old.shape:
            given = f"Absence.painted, whose function returned {describe(new)}"
            refuse("baseline", given, f"values of shape {tuple(old.shape)}, as it was given")
    return Values(new.to(t.dtype).unflatten(0, (k, q.rows)) for new, t in zip(leaves, x.leaves, strict=True))


def _structure(q: Asked, values: Values) -> Any:
    """Values at `wrt` in the structure found there, which all of `values` has to be tensors of."""
    rest = iter(values.leaves)
    parts = [form.fill([next(rest) for _ in form.paths]) for form in q.sight.forms if form.paths]
    if q.sight.lookups:
        refuse("baseline", "Absence.painted with looked-up vectors", "values at the inputs or at a layer")
    return parts[0] if len(parts) == 1 else tuple(parts)
