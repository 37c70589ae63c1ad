"""Sums over every coalition of a few features: exact values of a game, 2^n evaluations for all features together.

Scores of a game are taken as (k, T, B) throughout this package, T being 1 where a single target is asked about; values
of features are (T, B, n).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game
from enodo.methods.path import check_tol

EACH = 20  # evaluations a feature wants of a method that samples: a photo's regions were then off by a third


def several(n: int) -> int:
    """Evaluations that a method which samples wants for n features."""
    return EACH * n


def check_evaluations(max_evaluations: object, tol: object = None) -> None:
    """Refuse anything but a whole number of evaluations from 2, and a tolerance that is none or positive.

    `max_evaluations` is how many coalitions (or masks) of a row are run at most. The scores with all features and with
    none, which every answer has, come on top where coalitions are sampled, and are two of the 2^n where all are run.
    All targets share a run; against a background of R each is R rows; coalitions that all rows share are run once.
    """
    if isinstance(max_evaluations, bool) or not isinstance(max_evaluations, int):
        refuse("max_evaluations", max_evaluations, "a whole number", kind=BadType)
    if max_evaluations < 2:
        refuse("max_evaluations", max_evaluations, "at least 2")
    if tol is not None:
        check_tol(tol)


def fits(n: int, max_evaluations: int) -> bool:
    """Whether every coalition of n features can be evaluated."""
    return n < 63 and 2**n <= max(max_evaluations, 4)


def need_all(n: int, max_evaluations: int, instead: str) -> None:
    """Refuse a game of which not every coalition can be evaluated; `instead` names methods that sample."""
    if not fits(n, max_evaluations):
        given = f"{n} features, which have 2^{n} coalitions, with max_evaluations={max_evaluations}"
        most = math.floor(math.log2(max_evaluations))
        remedy = f"Group them with features=, raise max_evaluations, or sample: {instead}."
        refuse("features", given, f"at most {most} features", remedy)


def lifted(scores: Tensor, lead: int = 1) -> Tensor:
    """Scores (k, B) or (k, T, B) as (k, T, B) in float64, on the host, which solves small systems faster than a GPU.

    `lead` counts the dimensions before the targets.
    """
    scores = scores.detach().to("cpu", torch.float64)
    return scores if scores.ndim == lead + 2 else scores.unsqueeze(lead)


def subsets(i: int, j: int, n: int) -> Tensor:
    """The coalitions numbered i to j, feature f being in those with the bit 2^f: (j - i, n), bool."""
    return ((torch.arange(i, j)[:, None] >> torch.arange(n)) & 1).bool()


def every(game: Game) -> Iterator[tuple[Tensor, Tensor]]:
    """All coalitions, some at a time, (k, n) float64, with their scores (k, T, B)."""
    n, last = game.n, 2**game.n - 1
    for i, j, scores in game.stream(last - 1, lambda i, j: subsets(i + 1, j + 1, n), empty=True):
        v = lifted(scores)
        yield subsets(i + 1, j + 1, n).to(v.device, torch.float64), v
    ends = torch.stack([lifted(game.empty, 0), lifted(game.full, 0)])
    yield torch.tensor([[0.0], [1.0]], dtype=torch.float64, device=ends.device).expand(2, n), ends


def shapley_weights(n: int) -> Tensor:
    """(n,): how much the contribution to a coalition of s others counts, s! (n - s - 1)! / n!."""
    return torch.tensor([1 / (n * math.comb(n - 1, s)) for s in range(n)], dtype=torch.float64)


def banzhaf_weights(n: int) -> Tensor:
    """(n,): every coalition of others counts the same, 1 / 2^(n - 1)."""
    return torch.full((n,), 0.5 ** (n - 1), dtype=torch.float64)


def contributions(z: Tensor, v: Tensor, weights: Tensor) -> Tensor:
    """What coalitions z (k, n) with scores v (k, T, B) add to the values of features, (T, B, n).

    The value of feature i is the sum over coalitions S without i of weights[|S|] (v(S + i) - v(S)).
    """
    size, none = z.sum(1).long(), weights.new_zeros(1)
    as_member = torch.cat([none, weights]).to(v.device)[size]
    as_other = torch.cat([weights, none]).to(v.device)[size]
    gained = torch.einsum("ktb,kn->tbn", v, z * (as_member + as_other)[:, None])
    return gained - torch.einsum("ktb,k->tb", v, as_other)[..., None]


def by_size(weights: Tensor, size: Tensor, less: int) -> Tensor:
    """weights[size - less], zero outside of them."""
    at = size - less
    return torch.where((at >= 0) & (at < len(weights)), weights.to(size.device)[at.clamp(0, len(weights) - 1)], 0)


def synergies(z: Tensor, v: Tensor, weights: Tensor) -> Tensor:
    """What coalitions add to the interactions of pairs of features, (T, B, n, n); the diagonal means nothing.

    That of i and j is the sum over S without both of weights[|S|] (v(S + i + j) - v(S + i) - v(S + j) + v(S)).
    """
    both, one, none = (by_size(weights, z.sum(1).long(), less)[:, None, None] for less in (2, 1, 0))
    return by_pair(z[:, None], v * both, -v * one, v * none)


def by_pair(z: Tensor, both: Tensor, one: Tensor, none: Tensor) -> Tensor:
    """For each two features the sum over coalitions z (k, 1 or B, n) of the number for how many of them are in it.

    The numbers are (k, T, B), the sums (T, B, n, n).
    """
    single = torch.einsum("ktb,kbn->tbn", one - none, z)
    together = torch.einsum("ktb,kbi,kbj->tbij", both - 2 * one + none, z, z)
    return together + single[..., None] + single[..., None, :] + none.sum(0)[..., None, None]


def summed(game: Game, weights: Tensor) -> Tensor:
    """The values of features under weights by size, (T, B, n)."""
    total: Tensor | None = None
    for z, v in every(game):
        part = contributions(z, v, weights)
        total = part if total is None else total + part
    if total is None:
        refuse("features", "none", "at least one feature")
    return total
