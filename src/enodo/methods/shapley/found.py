"""What a game was found to be worth to its features, and how it becomes an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.values import Values


@dataclass
class Found:
    """Values of features, (T, B, n) float64, T being 1 where a single target is asked about, with their evidence."""

    values: Tensor
    stderr: Tensor | None = None  # (T, B, n), where they were sampled
    error: Tensor | None = None  # (T, B): relative half-width of the interval, where `tol` was given
    details: dict[str, Tensor] = field(default_factory=dict)  # (T, B, ...)

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name."""
        known = {"values": self.values, "stderr": self.stderr, "error": self.error}
        return {name: t for name, t in known.items() if t is not None} | self.details


def exactly(values: Tensor, tol: float | None) -> Found:
    """Values without sampling error, of a method that samples where it must."""
    return Found(values, values.new_zeros(values.shape), None if tol is None else values.new_zeros(values.shape[:2]))


Solve = Callable[[Question, Game], Found]


def answer(q: Question, features: Any, solve: Solve, complete: bool = False) -> Values:
    """Ask `solve` about the game of the rows, and put what it found where the features lie.

    Rows with different numbers of features have games of their own, so that none depends on its batch mates. With
    `complete` the values of features add up to the change of the score, and how far they do is the answer's `delta`.
    """
    game = q.game(features)
    found = solve(q, game).tensors() if game.counts is None else _by_count(q, features, game.counts, solve)
    scores = q.scores
    found = {name: (t[0] if scores.ndim == 1 else t).to(scores) for name, t in found.items()}
    values = found.pop("values")
    if "stderr" in found:
        q.memo["stderr"] = game.spread(found.pop("stderr"))
    if "error" in found:
        q.memo["error"] = found.pop("error")
    if complete:
        q.memo["delta"] = values.sum(-1) - (game.full - game.empty)
    q.memo["details"] = {"features": values, **found}
    return game.spread(values)


def _by_count(q: Question, features: Any, counts: Tensor, solve: Solve) -> dict[str, Tensor]:
    """What is found of the rows with one number of features at a time; features that a row lacks get zero."""
    parts = []
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero().flatten()
        part = some_rows(q, rows)
        parts.append((rows, solve(part, part.game(features)).tensors()))
    whole = {}
    for name, first in parts[-1][1].items():  # of the most features
        whole[name] = first.new_zeros(len(first), q.rows, *first.shape[2:])
        for rows, found in parts:
            whole[name][:, rows.to(first.device)] = padded(found[name], first.shape[2:])
    return whole


def padded(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor (T, B, ...) with zeros behind, up to a shape beside T and B."""
    short = [s - h for s, h in zip(shape, t.shape[2:], strict=True)]
    return F.pad(t, [p for s in reversed(short) for p in (0, s)])


def some_rows(q: Question, rows: Tensor) -> Question:
    """The question about some of the rows, with what has been found out about them."""
    part = replace(q, target=q.settled_target).take(rows)
    for name in ("scores", "game empty"):
        if name in q.memo:
            part.memo[name] = q.memo[name][..., rows.to(q.memo[name].device)]
    part.memo["x"] = q.x.map(lambda t: t[rows.to(t.device)])
    return part
