"""Interactions of two features from sampled coalitions.

The definition is a sum over all coalitions, so a sample of them, each weighed by how rarely it is drawn, estimates it
without bias (Fumagalli et al. 2023, arXiv:2303.01179, theorem 4.1). How far it is off depends on how large the scores
are: what is summed is therefore what a model of single features and, where there are coalitions enough, of products of
two leaves over. The interactions of that model are its coefficients.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from enodo.core.game import Game

from .every import by_pair, by_size, lifted, shapley_weights
from .found import Found
from .pairs import Pairs, Some

PER_PRODUCT = 2  # coalitions that a model has for each product of two features, at least


class Twos:
    """The estimate of Shapley values by regression, and of the matrix of interactions from the same coalitions."""

    cost = Pairs.cost
    freedom = math.inf

    def __init__(self, game: Game, pairs: Pairs) -> None:
        self.game, self.pairs = game, pairs
        self.details: dict[str, Tensor] = {}

    def more(self, units: int) -> None:
        """Evaluate this many pairs of coalitions more."""
        self.pairs.more(units)

    def answer(self) -> tuple[Tensor, Tensor]:
        """Values of features and their standard errors, (T, B, n); the matrix and its own are in `details`."""
        values, stderr = self.pairs.answer()
        found = matrix(values, stderr, *_index(self.pairs, values))
        self.details = found.details
        return values, stderr

    def keep(self, game: Game, rows: Tensor) -> Twos:
        """The same estimate for some of the rows."""
        return Twos(game, self.pairs.keep(game, rows))


def matrix(values: Tensor, stderr: Tensor, index: Tensor, spread: Tensor) -> Found:
    """Half of the index beside the diagonal; on it what is left of the value. With standard errors of both."""
    eye = torch.eye(values.shape[-1], dtype=torch.bool, device=values.device)
    beside, around = (torch.where(eye, 0, t / 2) for t in (index, spread))
    whole = torch.where(eye, (values - beside.sum(-1))[..., None], beside)
    errors = torch.where(eye, (stderr.square() + around.square().sum(-1)).sqrt()[..., None], around)
    return Found(values, stderr, details={"interactions": whole, "interactions_stderr": errors})


def _index(pairs: Pairs, values: Tensor) -> tuple[Tensor, Tensor]:
    """The Shapley interaction index (T, B, n, n), the diagonal meaning nothing, and its standard error."""
    plan, n, (coalitions, sizes, chance) = pairs.plan, pairs.game.n, Some.joined(pairs.met)
    z, size, left = (torch.from_numpy(t).movedim(0, 1) for t in (coalitions, sizes, chance))
    z, v = z.to(torch.float64), torch.from_numpy(np.concatenate(pairs.seen, 1))
    shrink, products = 0.0, z.new_zeros(*values.shape, n)
    if len(z) >= PER_PRODUCT * n * (n - 1) / 2:
        products, shrink = _products(z, v.sum(0)), n * (n - 1) / 2 / len(z)
    empty = lifted(pairs.game.empty, 0)
    fit = _Fit(empty, values, products)
    rest = v - torch.stack([fit(z), fit(1 - z)])
    ends = torch.stack([empty, lifted(pairs.game.full, 0)]) - torch.stack([fit(z[:1] * 0), fit(z[:1] * 0 + 1)])[:, 0]
    own, across = _weights(pairs, size), _weights(pairs, n - size)[::-1]
    both, one, none = (rest[0] * a + rest[1] * b for a, b in zip(own, across, strict=True))
    index = products + by_pair(z, both, -one, none) + (ends.sum(0) / (n - 1))[..., None, None]
    if not pairs.count:
        return index, torch.zeros_like(index)
    drawn = slice(plan.whole.each, None)
    parts = [t[drawn] for t in (both, -one, none)]
    mean = by_pair(z[drawn], *parts) / pairs.count
    left = left[drawn, None]  # the part of each one's variance that its deck leaves, (m, 1, B)
    squares = by_pair(z[drawn], *(t.square() * left for t in parts)) / pairs.count
    variance = squares - mean.square() * left.mean(0)[..., None, None]
    return index, (variance.clamp(min=0) * pairs.count).sqrt() / (1 - shrink)


def _weights(pairs: Pairs, size: Tensor) -> list[Tensor]:
    """How much coalitions of these sizes, (k, B), count as ones with both, with one and with none: each (k, 1, B)."""
    plan, n, weights = pairs.plan, pairs.game.n, shapley_weights(pairs.game.n - 1)
    taken, drawn = size.split([plan.whole.each, pairs.count])
    chance, some = torch.ones(n + 1, dtype=torch.float64), torch.tensor(list(plan.decks), dtype=torch.long)
    chance[some] = chance[n - some] = torch.from_numpy(plan.chances)[some] * pairs.count

    def each(less: int) -> Tensor:
        together = torch.tensor([_share(n, s, less) for s in range(n + 1)], dtype=torch.float64) / chance
        return torch.cat([by_size(weights, taken, less), by_size(together, drawn, 0)])[:, None]

    return [each(less) for less in (2, 1, 0)]


def _share(n: int, size: int, less: int) -> float:
    """What all coalitions of a size count together, complements aside, as ones with `less` of the two features.

    A quotient of whole numbers, each of which may be too large for a float.
    """
    if not 0 <= size - less <= n - 2:
        return 0.0
    return math.comb(n, size) / ((1 + (2 * size == n)) * (n - 1) * math.comb(n - 2, size - less))


class _Fit:
    """v(none) + a z + sum over i < j of c_ij z_i z_j, whose Shapley values are `values` and interactions `products`."""

    def __init__(self, empty: Tensor, values: Tensor, products: Tensor) -> None:
        self.empty, self.products = empty, products
        self.alone = values - products.sum(-1) / 2

    def __call__(self, z: Tensor) -> Tensor:
        """(k, B, n) -> (k, T, B)."""
        together = torch.einsum("kbi,tbij,kbj->ktb", z, self.products, z) / 2
        return self.empty + torch.einsum("kbi,tbi->ktb", z, self.alone) + together


def _products(z: Tensor, even: Tensor) -> Tensor:
    """The coefficients c_ij of products, (T, B, n, n), from v(z) + v(complement) = c + sum of c_ij d_i d_j / 2."""
    n = z.shape[-1]
    i, j = torch.triu_indices(n, n, 1)
    d = (2 * z - 1).movedim(0, 1)  # (B, k, n)
    a = d[..., i] * d[..., j] / 2
    y = even.permute(2, 0, 1)  # (B, k, T)
    a, y = a - a.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    solved: Tensor = torch.linalg.lstsq(a, y, driver="gelsd" if a.device.type == "cpu" else None).solution.movedim(
        -1, 0
    )
    found: Tensor = solved.new_zeros(*solved.shape[:2], n, n)
    found[..., i, j] = found[..., j, i] = solved
    return found
