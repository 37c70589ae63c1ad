"""Soft masks: values between what stands in for them and what they are."""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.game import Game
from enodo.core.values import Values, is_continuous
from enodo.methods.shapley.every import lifted


def scores(game: Game, masks: Values) -> Tensor:
    """The scores (k, T, B) with each value a share m of itself and 1 - m of its stand-in; masks (k, B, ...).

    Of what has no in-between, token ids, the larger share is taken.
    """
    q = game.q
    one = game.absence.removal is None and game.absence.paint is None and len(game.worlds.leaves[0]) == 1
    if not one:
        given = f"{game.absence}, for masks that let part of a value through"
        instead = "Give another baseline; rise takes this one with features=."
        refuse("baseline", given, "a single stand-in for each value", instead)

    def points(i: int, j: int) -> Values:
        return q.x.map(_mixed, game.worlds, masks.map(lambda t: t[i:j]))

    found = [lifted(s) for _, _, s in q.stream(len(masks.leaves[0]), points, q.scored)]
    return torch.cat(found)


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    if not is_continuous(x):
        return torch.where(share.to(x.device) > 0.5, x, other)
    return torch.lerp(other.expand(share.shape), x.expand(share.shape), share.to(x))
