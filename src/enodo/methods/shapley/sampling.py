"""Sampling until a budget is spent, or until the answer is known well enough; and saying how well it is known."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from enodo.core.errors import SamplingWarning, SettlingWarning, warn
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.values import Values, along

from .found import Found, some_rows

LOOSE = 0.2  # expected relative error above which a budget is called too small
AIM = 0.1  # expected relative error of the budget that is named instead
SIGMAS = 2.0  # half-width of the interval in standard errors, 95 %, of many samples
WIDE = 2.5  # half-width from which on it is told
STUDENT = (1.95996, 2.37227, 2.82250, 2.55585, 1.58954, 0.73290)  # of Student's t in powers of 1 / degrees of freedom

S = TypeVar("S", bound="Sampler")


class Sampler(Protocol):
    """An estimate of the values of features that grows with each round of samples."""

    cost: int  # evaluations a unit
    details: dict[str, Tensor]  # (T, B, ...), of the last answer

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard errors; infinite where these are made of many samples at once."""

    def more(self, units: int) -> None:
        """Draw and evaluate this many units more."""

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n)."""

    def keep(self: S, game: Game, rows: Tensor) -> S:
        """The same estimate for some of the rows, whose game is given."""


def sample(q: Question, features: Any, sampler: Sampler, most: int, tol: float | None, first: int) -> Found:
    """Spend `most` units, or with `tol` as many as are needed, from `first` on doubling.

    With `tol` a row goes on until the 95 % interval of each of its values is at most `tol` times its largest value to
    either side. A row stops by itself, so that its answer does not depend on its batch mates, and a target that is
    known well enough keeps its answer while its row goes on for others.
    """
    if tol is None:
        sampler.more(most)
        values, stderr = sampler.answer()
        known = {"attribution": (values, stderr)} | _pairs(sampler.details)
        for name, (found, spread) in known.items():
            warn_if_loose(q, name, found, spread, most * sampler.cost)
        if bool(stderr.any()):
            note_if_few(q, sampler.freedom, ", more where the score turns on few coalitions")
        return Found(values, stderr, details=sampler.details)
    done = min(first, most)
    sampler.more(done)
    values, stderr = sampler.answer()
    error, details = _width(values, stderr, sampler), sampler.details
    rows = torch.arange(q.rows)
    while done < most:
        open_ = error[:, rows] > tol
        going = open_.any(0).nonzero().flatten()
        if not len(going):
            break
        if len(going) < len(rows):
            rows, open_ = rows[going], open_[:, going]
            sampler = sampler.keep(some_rows(q, rows).game(features), going)
        step = min(done, most - done)
        sampler.more(step)
        done += step
        new, spread = sampler.answer()
        values[:, rows] = torch.where(open_[..., None], new, values[:, rows])
        stderr[:, rows] = torch.where(open_[..., None], spread, stderr[:, rows])
        error[:, rows] = torch.where(open_, _width(new, spread, sampler), error[:, rows])
        for name, t in sampler.details.items():
            details[name][:, rows] = torch.where(along(open_, t), t, details[name][:, rows])
    worst = error.max().item()
    if worst > tol:
        _say(
            q,
            f"The attribution is known to {worst:.2g} of its largest value (95 % interval) after {done * sampler.cost} "
            f"evaluations, tol={tol:g} was asked for. Raise max_evaluations, or group features.",
            SettlingWarning,
        )
    return Found(values, stderr, error, details)


def _pairs(details: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The details that have standard errors, with them."""
    return {name: (t, details[f"{name}_stderr"]) for name, t in details.items() if f"{name}_stderr" in details}


def half_width(freedom: float) -> float:
    """That of a 95 % interval, in standard errors with so many degrees of freedom.

    Student's t, by its expansion about the normal law (Abramowitz and Stegun 1964, 26.7.5).
    """
    return max(SIGMAS, sum(c / freedom**i for i, c in enumerate(STUDENT)))


def note_if_few(q: Question, freedom: float, more: str = "") -> None:
    """Tell how wide an interval is, where standard errors have so few degrees of freedom that two do not make one."""
    wide = half_width(freedom)
    if wide > WIDE:
        q.log.note(
            f"The standard errors come from few samples: a 95 % interval is {wide:.1f} of them to either side "
            f"(Student's t, degrees of freedom: {freedom:g}){more}."
        )


def state_errors(q: Question, stderr: Values, samples: int) -> None:
    """Leave the standard errors of a mean over samples with the answer; a single sample has none."""
    if samples > 1:
        q.memo["stderr"] = stderr
        note_if_few(q, samples - 1)


def _width(values: Tensor, stderr: Tensor, sampler: Sampler) -> Tensor:
    """(T, B): the widest half of an interval, of the values and of details, relative to the largest value."""
    spreads = [stderr, *(spread for _, spread in _pairs(sampler.details).values())]
    widest = torch.stack([t.flatten(2).amax(-1) for t in spreads]).amax(0)
    return _ratio(half_width(sampler.freedom) * widest, values.abs().amax(-1))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole; nothing of nothing is nothing."""
    return torch.where(part == 0, part, part / whole)


def warn_if_loose(q: Question, name: str, values: Tensor, stderr: Tensor, spent: int) -> None:
    """Name the expected error of what is called `name` where a budget is too small for the number of features."""
    part, whole = (np.linalg.norm(t.numpy().reshape(*t.shape[:2], -1), axis=-1) for t in (stderr, values))
    if (part > LOOSE * whole).any():
        expected = float(np.divide(part, whole, where=part > 0, out=np.zeros_like(part)).max())
        enough = spent * (expected / AIM) ** 2
        remedy = "Raise max_evaluations" + (f" (about {enough:,.0f} for {AIM:.0%})" if enough < 1e9 else "")
        told = f"{expected:.0%} (relative, L2)" if expected < float("inf") else "not zero, as its values are"
        told += " in the worst row" if values.shape[1] > 1 else ""
        _say(
            q,
            f"{spent} evaluations are few for {values.shape[-1]} features: the expected error of the {name} is "
            f"{told}. {remedy}, or group features.",
            SamplingWarning,
        )


def _say(q: Question, text: str, kind: type[UserWarning]) -> None:
    q.log.note(text)
    warn(text, kind)
