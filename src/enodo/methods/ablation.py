"""What the score loses without some of the features."""

from __future__ import annotations

from itertools import combinations, islice
from math import comb
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.features import Features
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values
from enodo.methods.shapley.every import check_evaluations


@method(
    "feature_ablation",
    title="Feature ablation",
    paper="Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2; Li et al. 2016, arXiv:1612.08220",
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
    game = q.game(features)
    return game.spread(losses(game))


@method(
    "occlusion",
    title="Occlusion",
    paper="Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2",
    when="Pictures and series, any model: what the score loses when a window slid over the input is covered.",
    needs="score absence",
    claims="shared",
)
def occlusion(q: Question, *, window: Any = None, strides: Any = None) -> Values:
    """What the score loses when a window is absent; a value has the mean over the windows that cover it.

    Feature ablation of `Features.windows(window, strides)`. Without a window, one of about a quarter of the places in
    each dimension (all channels) is slid by half of itself.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: x.sum(1), torch.tensor([[3.0, 2.0, 1.0]]), "occlusion", window=(2,)).tensor
    tensor([[5., 4., 3.]])
    """
    return feature_ablation(q, features=Features.windows(window, strides))


@method(
    "k_out",
    title="Leave k out",
    paper="Dubey et al. 1981, doi:10.1287/moor.6.1.122 (semivalues)",
    when="As feature ablation, where features stand in for one another and nothing is lost without one alone.",
    needs="score absence",
    claims="shared",
    wants=lambda n: n * (n + 1) // 2,
)
def k_out(q: Question, *, features: Any = None, size: int = 2, max_evaluations: int = 5000) -> Values:
    """What the score loses without each set of at most `size` features, shared out within the set.

    a_i = mean over s from 0 to size - 1, and over the sets R of s other features, of f(x without R) - f(x without R and
    i), in units of the score: within each set of `size` features the Shapley value of what is lost, averaged over the
    sets that i is in. size=1 is feature ablation, size=n the Shapley value. All sets are run, which for n
    features and size 2 are n (n + 1) / 2; more than `max_evaluations` of them are refused, with their number.

    >>> import torch, enodo
    >>> enodo.explain(lambda x: x[:, :2].amax(1), torch.tensor([[3.0, 3.0, 1.0]]), "k_out", size=2).tensor
    tensor([[0.7500, 0.7500, 0.0000]])
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        refuse("size", size, "a whole number from 1", kind=BadType)
    check_evaluations(max_evaluations)
    game = q.game(features)
    size, n = min(size, game.n), game.n
    if size == 1:
        return game.spread(losses(game))
    if game.counts is not None:
        refuse("features", f"{game.counts.tolist()} features by row", "the same number in every row, to leave out sets")
    count = sum(comb(n, s) for s in range(1, size + 1))
    if count > max_evaluations:
        instead = f"Take larger features (features=), a smaller size, or write max_evaluations={count} to run them all."
        refuse("size", f"{size} of {n} features: {count} sets", f"at most {max_evaluations}", instead)
    total = losses(game)
    with_, all_ = total, total.sum(-1, keepdim=True)  # what is lost without the sets of s features: those with i, all
    for s in range(1, size):
        before, (with_, all_) = all_ - with_, _lost(game, s + 1)
        total = total + (with_ - before) / comb(n - 1, s)
    return game.spread(total / size)


def losses(game: Game) -> Tensor:
    """f(x) - f(x without i): (B, n) or (T, B, n)."""
    parts = [game.full - scores for _, _, scores in game.without_each()]
    return torch.cat(parts).movedim(0, -1)


def _lost(game: Game, size: int) -> tuple[Tensor, Tensor]:
    """The sum of f(x) - f(x without S) over the sets S of a size: those with each feature (..., n), all (..., 1)."""
    n, members = game.n, combinations(range(game.n), size)
    drawn = torch.zeros(0, size, dtype=torch.long)

    def without(i: int, j: int) -> Tensor:
        nonlocal drawn
        new = torch.tensor(list(islice(members, j - i)))
        drawn = torch.cat([drawn, new])
        return torch.ones(j - i, n, dtype=torch.bool).scatter(1, new, False)

    total: Any = 0
    every: Any = 0
    for i, j, scores in game.stream(comb(n, size), without):
        lost = (game.full - scores).movedim(0, -1)  # (..., sets)
        index, drawn = drawn[: j - i].to(lost.device), drawn[j - i :]
        absent = torch.zeros(j - i, n, dtype=lost.dtype, device=lost.device).scatter(1, index, 1)
        total, every = total + lost @ absent, every + lost.sum(-1, keepdim=True)
    return total, every
