"""Masks learnt by gradient descent: the smallest part that destroys a score, the part of a size that keeps it best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.features import Features
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, accumulator, concat

from .path import check_steps

Penalty = Callable[[Tensor, float], Tensor]  # of a mask (..., B, n) and the part of the steps done, 0 to 1; summed up
CELLS = 28  # of a picture's mask in each dimension, where no features are given
RATE, MOMENTUM, FAR = 0.02, 0.9, 12.0


@method(
    "meaningful_perturbation",
    title="Meaningful perturbation",
    paper="Fong and Vedaldi 2017, arXiv:1704.03296, equation 5",
    when="The smallest part of a picture without which the class is lost; baseline=Absence.blurred() is the paper's.",
    needs="gradient score absence",
    claims="shared size cells",
    counts="share taken away",
)
def meaningful_perturbation(
    q: Question, *, features: Any = None, steps: int = 200, sparsity: float = 1.0, smoothness: float = 0.2
) -> Values:
    """How far each feature is taken away by the mask that loses most of the score and is small and smooth.

    a = 1 - m, from 0 to 1, for the m in [0, 1]^n that minimises (f(m x + (1 - m) x0) - f(x0)) / |f(x) - f(x0)| +
    sparsity * mean(1 - m) + smoothness * TV(m), by descent from m = 0.95; x0 is what stands in (`baseline`). TV
    is the mean squared difference of neighbours along the dimensions after the channels. Without features, pictures
    have a mask of at most 28 x 28 cells, of all channels, and other values one each.
    """
    _check(steps, sparsity=sparsity, smoothness=smoothness)
    game = _game(q, features)

    def penalty(m: Tensor, done: float) -> Tensor:
        return sparsity * (1 - m).mean(-1).sum() + (smoothness * _roughness(game, m) if smoothness else 0)

    return game.spread(1 - _learnt(game, steps, 3.0, 1, penalty))


@method(
    "extremal_perturbation",
    title="Extremal perturbation",
    paper="Fong et al. 2019, arXiv:1910.08485, equations 2 to 4",
    when="Which part of a given size suffices for the score: a mask with a meaning of its own, no weights to tune.",
    needs="gradient score absence",
    claims="shared size cells",
    aliases=("extremal",),
    counts="share kept",
)
def extremal_perturbation(
    q: Question, *, area: float = 0.1, features: Any = None, steps: int = 200, smoothness: float = 0.2
) -> Values:
    """The part of the features, `area` of them, that keeps most of the score where all others are absent.

    a = m, near 1 for what is kept and near 0 elsewhere, for the m in [0, 1]^n that maximises (f(m x + (1 - m) x0) -
    f(x0)) / |f(x) - f(x0)| - w mean((sort(m) - r)^2), r being 0 for the first 1 - area of the features and 1 for the
    rest; w grows from 0 to 100. Features and `smoothness` as in `meaningful_perturbation`.
    """
    _check(steps, smoothness=smoothness)
    if isinstance(area, bool) or not isinstance(area, (int, float)) or not 0 < area <= 1:
        refuse("area", area, "a share of the features, above 0 and at most 1", kind=BadType)
    game = _game(q, features)
    kept = max(1, round(area * game.n))

    def penalty(m: Tensor, done: float) -> Tensor:
        wanted = (torch.arange(game.n, device=m.device) >= game.n - kept).to(m.dtype)
        off = (m.sort(-1).values - wanted).square().mean(-1).sum()
        return 100 * done**2 * off + (smoothness * _roughness(game, m) if smoothness else 0)

    return game.spread(_learnt(game, steps, 0.0, -1, penalty))


def _learnt(game: Game, steps: int, start: float, sign: int, penalty: Penalty) -> Tensor:
    """The mask (B, n) or (T, B, n) that minimises sign * score + penalty.

    By exponentiated descent with momentum: the slope in the mask moves its logits, which keep the order of features
    whose mask is all but 0 or 1, and never reach values where a model may have no slope.
    """
    q, x0 = game.q, game.worlds.map(lambda t: t[0])
    way = q.x - x0
    full, empty = (s.to(accumulator(s.dtype)) for s in (game.full, game.empty))
    change = full - empty
    rounding = torch.finfo(game.full.dtype).eps * (full.abs() + empty.abs()) + torch.finfo(change.dtype).tiny
    scale = sign * game.n / change.abs().clamp(min=rounding)
    logits = torch.full((*change.shape, game.n), start, dtype=change.dtype, device=change.device)
    speed = torch.zeros_like(logits)
    for step in range(steps):
        mask = logits.sigmoid()
        found = game.gather(_gradient(q, _mixed(game, x0, way, mask), change.ndim) * way)
        with torch.enable_grad():
            free = mask if mask.requires_grad else mask.detach().requires_grad_()
            (cost,) = torch.autograd.grad(penalty(free, step / steps), free, create_graph=q.create_graph)
        speed = MOMENTUM * speed - RATE * (scale[..., None] * found.to(mask.dtype) + game.n * cost)
        logits = (logits + speed).clamp(-FAR, FAR)
    return logits.sigmoid()


def _mixed(game: Game, x0: Values, way: Values, mask: Tensor) -> Values:
    """x0 + m (x - x0) as points (k, B, ...): one, or one a target."""
    mixed = game.spread(mask) * way + x0
    return (mixed if mask.ndim == 3 else mixed.map(lambda t: t[None])).to_dtype_of(way)


def _gradient(q: Question, points: Values, lead: int) -> Values:
    """The gradient of the score at its point, (B, ...); of each target at its own, (T, B, ...)."""
    k = points.leaves[0].shape[0]
    parts = [g for _, _, g in q.grads(k, lambda i, j: points.map(lambda t: t[i:j]))]
    whole = concat(parts, 0)
    if lead == 1:
        return whole.map(lambda t: t[0])
    return whole.map(lambda t: torch.stack([t[i, i] for i in range(k)]))


def _roughness(game: Game, m: Tensor) -> Tensor:
    """The sum over rows of the mean squared difference of neighbours in the mask of values (B, C, places ...)."""
    total = m.new_zeros(())
    for t, like in zip(game.spread(m).leaves, game.q.x.leaves, strict=True):
        for d in range(m.ndim - 1, m.ndim - 1 + max(like.ndim - 2, 0)):
            if t.shape[d + 1] > 1:
                total = total + t.diff(dim=d + 1).square().flatten(m.ndim - 1).mean(-1).sum()
    return total


def _game(q: Question, features: Any) -> Game:
    """The game of the features, cells of pictures where none are given, with one thing that stands in for each."""
    if features is None and all(t.ndim > 3 for t in q.x.leaves) and len(q.x) == 1:
        features = Features.grid([-(-s // CELLS) for s in q.x.leaves[0].shape[2:]])
    game = q.game(features)
    if game.absence.paint or game.absence.removal or len(game.worlds.leaves[0]) > 1:
        refuse("baseline", f"Absence: {game.absence}", "one value for each, to be mixed with the input")
    if game.counts is not None:
        refuse("features", f"{game.counts.tolist()} features by row", "the same number in every row")
    return game


def _check(steps: Any, **weights: Any) -> None:
    check_steps(steps)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            refuse(name, weight, "a weight, 0 or more", kind=BadType)
