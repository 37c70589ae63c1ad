"""Shapley interactions: what features do together that they do not do alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .every import check_evaluations, contributions, every, fits, several, shapley_weights, synergies
from .found import Found, answer, exactly
from .laws import SHAPLEY
from .methods import EVALUATIONS, regressed
from .second_order import Twos, matrix


@method(
    "shapley_interactions",
    title="Shapley interactions of two features",
    paper="Grabisch and Roubens 1999, doi:10.1007/s001820050125, definition 3; Lundberg et al. 2018, arXiv:1802.03888",
    when="Whether two features count together: more than each alone (synergy), or less (redundancy).",
    needs="score absence",
    wants=lambda n: several(n * (n + 1) // 2),
)
def shapley_interactions(
    q: Question, *, features: Any = None, max_evaluations: int = EVALUATIONS, tol: float | None = None
) -> Values:
    """Shapley values as values, and how they come about by each feature alone and by every two together.

    `details["interactions"]` is symmetric, (B, n, n), in units of the score: half of the Shapley interaction index
    sum over S without i, j of |S|! (n - |S| - 2)! / (n - 1)! (f(S + i + j) - f(S + i) - f(S + j) + f(S)) beside the
    diagonal, and on it what is left of the feature's Shapley value, so that each row sums to that. Exact where all 2^n
    coalitions fit into `max_evaluations`; otherwise sampled, with standard errors of the values, and of the matrix in
    `details["interactions_stderr"]` (`methods.shapley.second_order`). `tol` asks it of the values and of the matrix.

    >>> import torch, enodo
    >>> a = enodo.explain(lambda x: x[:, 0] * x[:, 1] + x[:, 2], torch.ones(1, 3), "shapley_interactions")
    >>> a.details["interactions"][0].abs().round(decimals=3)
    tensor([[0.0000, 0.5000, 0.0000],
            [0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    check_evaluations(max_evaluations)

    def solve(q: Question, game: Game) -> Found:
        if not fits(game.n, max_evaluations):
            return regressed(q, features, game, SHAPLEY, max_evaluations, tol, partial(Twos, game))
        alone, together = shapley_weights(game.n), shapley_weights(max(game.n - 1, 1))
        values: Any = 0
        index: Any = 0
        for z, v in every(game):
            values = values + contributions(z, v, alone)
            index = index + synergies(z, v, together)
        found = matrix(values, torch.zeros_like(values), index, torch.zeros_like(index))
        return replace(found, error=exactly(values, tol).error)

    return answer(q, features, solve, complete=True)
