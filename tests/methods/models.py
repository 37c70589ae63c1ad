"""Small models whose attributions are known on paper, and the plain loop that integrates a path by brute force."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

import enodo

Score = Callable[[Tensor], Tensor]


def published_inputs() -> Tensor:
    """The inputs of the published examples, (2, 3)."""
    with torch.random.fork_rng():
        torch.manual_seed(123)
        return torch.rand(2, 3)


class Toy(nn.Module):
    """The network of the published examples: identity, then ones with biases (-10, 1, 1, 1), ReLU, a sum minus 3."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1, self.lin2, self.lin3 = nn.Linear(3, 3), nn.Linear(3, 4), nn.Linear(4, 1)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.lin1.weight.copy_(torch.eye(3))
            self.lin1.bias.zero_()
            self.lin2.weight.fill_(1)
            self.lin2.bias.copy_(torch.tensor([-10.0, 1.0, 1.0, 1.0]))
            self.lin3.weight.fill_(1)
            self.lin3.bias.fill_(-3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin3(self.relu(self.lin2(self.lin1(x))))


class Mlp(nn.Module):
    """Two hidden layers in float64: features -> 6 -> 5 -> classes."""

    def __init__(self, features: int = 4, classes: int = 3, act: type[nn.Module] = nn.Tanh, seed: int = 0) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(features, 6), nn.Linear(6, 5), nn.Linear(5, classes)
        self.act1, self.act2 = act(), act()
        generator = torch.Generator().manual_seed(seed)
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.7)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act2(self.second(self.act1(self.first(x)))))


class Squares(nn.Module):
    """score = 3 h_0 + h_1^2 with h = W x at `hidden`: every path integral through h is known."""

    WEIGHT = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 2.0]], dtype=torch.float64)

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 2, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.hidden.weight.copy_(self.WEIGHT)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden(x)
        return 3 * h[:, 0] + h[:, 1] ** 2


class Bag(nn.Module):
    """score_c = sum_t w_c . e(ids_t): each token's share from the zero embedding is w_c . e(id)."""

    def __init__(self, words: int = 11, width: int = 3, classes: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embed = nn.Embedding(words, width, dtype=torch.float64)
        self.head = nn.Linear(width, classes, dtype=torch.float64)
        with torch.no_grad():
            self.embed.weight.copy_(torch.randn(words, width, generator=generator, dtype=torch.float64))
        self.eval()

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids).sum(1))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers in [-1, 1), float64, the same every time."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


@lru_cache
def gauss(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss' rule on [0, 1]."""
    alphas, weights = np.polynomial.legendre.leggauss(nodes)
    return torch.tensor((1 + alphas) / 2), torch.tensor(weights / 2)


def brute_force(score: Score, x: Tensor, x0: Tensor | float = 0.0, nodes: int = 1000) -> Tensor:
    """Integrated gradients of x (B, F), equation 1 of Sundararajan et al. 2017, by a Gauss rule of many nodes."""
    alphas, weights = gauss(nodes)
    points = (x0 + alphas[:, None, None] * (x - x0)).flatten(0, 1).requires_grad_()
    gradients = torch.autograd.grad(score(points).sum(), points)[0].unflatten(0, (nodes, -1))
    return torch.einsum("n,nbf->bf", weights, gradients) * (x - x0)


def tensor(model: object, inputs: object, method: str, **options: object) -> Tensor:
    """The attribution as a plain tensor."""
    return enodo.explain(model, inputs, method, **options).tensor  # type: ignore[arg-type]
