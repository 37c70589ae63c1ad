"""`dataclass(frozen=True)` for what every call makes anew: frozen to the type checker, and at no cost when it runs.

A frozen dataclass sets each of its fields by a call of `object.__setattr__`; a question with its parts has some forty,
which on a small model cost as much as a third of its forward pass. The check of types, which tests run, forbids the
same assignments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["dataclass", "replace"]

Made = TypeVar("Made")

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, eq: bool = False) -> Callable[[type], Any]:
        """A dataclass that can be compared, if at all, by identity; `frozen` is the type checker's."""
        return dataclasses.dataclass(eq=eq)


def replace(made: Made, **changes: Any) -> Made:
    """`dataclasses.replace`, which asks each field in turn whether it is among the changes; here nothing is checked."""
    new = object.__new__(type(made))
    new.__dict__.update(made.__dict__, **changes)
    return new
