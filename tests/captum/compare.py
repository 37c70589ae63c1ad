"""Both libraries asked the same question."""

from __future__ import annotations

import warnings
from typing import Any

import captum.attr as theirs
import torch

import enodo.captum.attr as ours


def both(name: str, args: tuple[Any, ...], options: dict[str, Any] | None = None, **question: Any) -> tuple[Any, Any]:
    """What `name(*args, **options).attribute(**question)` gives here, and in the installed Captum."""
    mine = getattr(ours, name)(*args, **(options or {})).attribute(**question)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = getattr(theirs, name)(*args, **(options or {})).attribute(**question)
    return mine, reference


def same(mine: Any, reference: Any) -> None:
    """The same containers, shapes and dtypes, and numbers equal to 1e-5."""
    assert type(mine) is type(reference)
    if isinstance(mine, (tuple, list)):
        assert len(mine) == len(reference)
        for a, b in zip(mine, reference, strict=True):
            same(a, b)
    else:
        assert not mine.requires_grad
        torch.testing.assert_close(mine, reference.detach(), rtol=1e-5, atol=1e-5)


def compare(name: str, *args: Any, options: dict[str, Any] | None = None, **question: Any) -> None:
    """Ask both, and expect the same."""
    same(*both(name, args, options, **question))


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal numbers, whatever graph hangs on them."""
    torch.testing.assert_close(a.detach(), b.detach(), rtol=tolerance, atol=tolerance)
