"""The two factors of a product of vectors, and how what is known of each entry lies in the product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

PRODUCTS = {"matmul": 0, "bmm": 0, "mm": 0, "addmm": 1, "baddbmm": 1}  # the argument that is their first factor

Lay = Callable[[Tensor], Tensor]


def factored(name: str, args: Any, given: Sequence[Tensor]) -> tuple[Tensor, Tensor, Lay, Lay] | None:
    """The factors of a product of vectors, and how what is known of them lies in the result."""
    if name in PRODUCTS:
        a, b = given[PRODUCTS[name] :][:2]
        return (a, b, lambda o: o[..., :1], lambda o: o[..., :1, :]) if a.ndim > 1 and b.ndim > 1 else None
    if name != "einsum" or len(given) != 2 or not isinstance(args[0], str) or "." in args[0]:
        return None
    terms, _, made = args[0].replace(" ", "").partition("->")
    left, _, right = terms.partition(",")
    return (given[0], given[1], lambda o: _spelt(o, left, made), lambda o: _spelt(o, right, made)) if made else None


def _spelt(t: Tensor, letters: str, made: str) -> Tensor:
    """A factor of an einsum as it lies in the result: what is summed over is gone, what it does not have is one."""
    for dim in reversed(range(len(letters))):
        if letters[dim] not in made:
            t = t.select(dim, 0)
    left = [c for c in letters if c in made]
    t = t.permute([left.index(c) for c in made if c in left])
    for dim, c in enumerate(made):
        if c not in left:
            t = t.unsqueeze(dim)
    return t
