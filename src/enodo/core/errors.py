"""The errors and warnings a user can meet: what argument, what was given, what was expected, what to write instead."""

from __future__ import annotations

import difflib
import os
import sys
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch


class EnodoError(Exception):
    """Base of every error raised on purpose by this library."""


class BadArgument(EnodoError, ValueError):
    """An argument has a value that the question cannot be asked with."""

    def __init__(self, argument: str, given: str, expected: str, instead: str = "") -> None:
        self.argument, self.given, self.expected, self.instead = argument, given, expected, instead
        sentence = f"{argument}: got {given}; expected {expected}."
        super().__init__(f"{sentence} {instead}".rstrip())

    def __reduce__(self) -> tuple[Any, ...]:  # the default would call __init__ with the sentence alone
        return type(self), (self.argument, self.given, self.expected, self.instead)


class BadType(BadArgument, TypeError):
    """An argument has a type that is not understood."""


class NoPath(BadArgument):
    """No differentiable path leads from the place asked about to the score."""


class NotFinite(BadArgument):
    """NaN or infinity in the inputs, the parameters, the scores or the attribution."""


class SettlingWarning(UserWarning):
    """`tol=` was asked for and not reached within the steps allowed."""


class SamplingWarning(UserWarning):
    """The samples are too few for the number of features; the text names the error to be expected."""


class TrainModeWarning(UserWarning):
    """The model is in train mode, so that dropout and batch statistics are part of what is explained."""


_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOMS = [os.path.join(os.path.dirname(_HERE), room) for room in ("rules", "methods", "metrics", "captum")]
_HIDDEN = tuple(f + os.sep for f in (os.path.dirname(torch.__file__), _HERE, *_ROOMS))


def is_users(frame: types.FrameType) -> bool:
    """Whether what runs there is neither torch's nor this library's; models that come with it are as a user's."""
    return not os.path.abspath(frame.f_code.co_filename).startswith(_HIDDEN)


def warn(text: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line that is the user's."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and not is_users(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level)


def refuse(
    argument: str, given: Any, expected: str, instead: str = "", kind: type[BadArgument] = BadArgument
) -> NoReturn:
    """Raise `kind`, with `given` described for a reader (`describe`) unless it is a sentence already."""
    raise kind(argument, given if isinstance(given, str) else describe(given), expected, instead)


def remark(error: Exception, inputs: Any) -> None:
    """Add to an error that comes from elsewhere, the model say, what was being done (Python 3.11 and later)."""
    if not isinstance(error, EnodoError) and hasattr(error, "add_note"):
        error.add_note(f"enodo was explaining {describe(inputs)}: rows first, several points of each in a pass.")


@contextmanager
def about(argument: str) -> Iterator[None]:
    """Whatever is refused inside was given as `argument`."""
    try:
        yield
    except BadArgument as error:
        raise type(error)(argument, error.given, error.expected, error.instead) from None


def describe(value: Any) -> str:
    """What `value` is, in a few words: tensors by dtype and shape, containers by their entries."""
    if isinstance(value, torch.Tensor):
        if value.is_nested:
            return "a nested tensor"
        kind = str(value.dtype).removeprefix("torch.")
        return f"{'an' if kind.startswith('i') else 'a'} {kind} tensor of shape {tuple(value.shape)}"
    if isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
        return f"a {type(value).__name__} of ({', '.join(map(describe, value))})"
    if isinstance(value, dict):
        return "{}" if not value else "a dict with " + ", ".join(f"{k!r}: {describe(v)}" for k, v in value.items())
    if hasattr(value, "shape") and hasattr(value, "__array__"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    text = " ".join(repr(value).split())
    text = text if len(text) <= 80 else text[:77] + "..."
    return (
        text
        if isinstance(value, (int, float, str, bool, tuple, list, type(None)))
        else f"{type(value).__name__} {text}"
    )


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """A hint for a misspelt name: its nearest neighbours, or all names if they are few."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=count, cutoff=0.4)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"Known: {', '.join(known[:12])}{', ...' if len(known) > 12 else '.'}"
