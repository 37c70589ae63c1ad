"""What a user gives in the structure of the value at `wrt`: masks, values; brought beside the tensors there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from . import tree as trees
from .errors import refuse
from .given import tensors

if TYPE_CHECKING:
    from .asked import Asked


def beside(q: Asked, given: Any, argument: str, tokens: bool = False) -> Iterator[tuple[Any, Tensor, str]]:
    """(part of what was given, the tensor it is for, its name) for each tensor at `wrt`.

    One tensor or number stands for a structure of one tensor. With `tokens`, looked-up vectors are given by the token.
    """
    paths = [(i, path) for i, form in enumerate(q.sight.forms) for path in form.paths]
    like = list(q.x.leaves[: len(paths)])
    if tokens:
        paths += [(0, path) for path in q.wrt.ids]
        like += [trees.get(q.call.inputs, path) for path in q.wrt.ids]
    else:
        paths += [(0, (number,)) for number in range(len(q.sight.lookups))]
        like += q.x.leaves[len(like) :]
    given = given if isinstance(given, Tensor) else tensors(given, argument)
    if len(like) == 1 and isinstance(given, (Tensor, int, float)):
        yield given, like[0], argument
        return
    for (i, path), t in zip(paths, like, strict=True):
        part = given[i] if q.wrt.several and isinstance(given, (tuple, list)) and i < len(given) else given
        try:
            found = trees.get(part, path)
        except (KeyError, IndexError, AttributeError, TypeError):
            refuse(argument, given, f"a structure like the value at wrt, which has an entry {trees.spell(path)}")
        yield found, t, argument + trees.spell(path)


def cut(q: Asked, given: Tensor, like: Tensor, argument: str) -> Tensor:
    """What was given for all rows of the call, or for each alike, as (1 or B, ...) that broadcasts to `like`."""
    whole = given.reshape(*[1] * (like.ndim - given.ndim), *given.shape)
    fits = whole.ndim == like.ndim and all(g in (1, s) for g, s in zip(whole.shape[1:], like.shape[1:], strict=True))
    if not fits or len(whole) not in (1, q.batch.rows):
        expected = f"a shape that broadcasts to {(q.batch.rows, *like.shape[1:])}, with one or all of the rows in front"
        refuse(argument, given, expected)
    return whole if len(whole) == 1 else whole[[key[0] for key in q.keys]]
