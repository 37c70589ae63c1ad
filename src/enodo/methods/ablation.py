"""What the score loses without a feature."""

from __future__ import annotations

from typing import Any

import torch

from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values


@method(
    "feature_ablation",
    title="Feature ablation",
    paper="Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2 (for windows)",
    when="Any model, gradients or not: what the score loses when one feature after the other is taken away.",
    needs="score absence",
    aliases=("leave_one_out",),
)
def feature_ablation(q: Question, *, features: Any = None) -> Values:
    """What the score loses when a feature is absent and all others are present.

    a_i = f(x) - f(x without i), in units of the score; each value has its feature's. See `core.features.Features` for
    what is taken away together, and `core.absence.Absence` for what stands in (`baseline`).

    >>> import torch, enodo
    >>> enodo.explain(lambda x: x[:, 0] * x[:, 1], torch.tensor([[3.0, 2.0, 1.0]]), "feature_ablation").tensor
    tensor([[6., 6., 0.]])
    """
    return _losses(q.game(features))


def _losses(game: Game) -> Values:
    """The loss of each feature, spread over its values."""
    losses = [game.full - scores for _, _, scores in game.without_each()]
    return game.spread(torch.cat(losses).movedim(0, -1))
