"""The small models that `check_method` asks about: one made of modules, one of functions, one with named inputs, one
that reads token ids. All are made in float64 with parameters that do not depend on, or move, the global generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enodo.core.tree import map_tree

from .case import Case


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, from a generator of their own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(model: nn.Module, scale: float = 0.6) -> nn.Module:
    """The module in float64 and eval mode, its parameters set to fixed normal numbers."""
    for number, p in enumerate(model.double().eval().parameters()):
        p.data = normal(*p.shape, seed=1000 + number) * scale
    return model


class MLP(nn.Module):
    """tanh network on all but the last of its features, (B, 6) -> (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        scores: Tensor = self.second(self.act(self.first(x[:, :5])))
        return scores


class CNN(nn.Module):
    """A residual block with a ReLU that is used twice, once in place, (B, 2, 5, 5) -> (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True)
        self.again, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = self.relu(self.norm(self.conv(x)))
        scores: Tensor = self.head(F.relu(h + self.relu(self.again(h))).mean((2, 3)))
        return scores


class Named(nn.Module):
    """Inputs by keyword, scores in a dict: {x: (B, 3), y: (B, 2)} -> {scores: (B, 3)}."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, *, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Class scores under the key `scores`."""
        return {"scores": self.out(torch.sigmoid(self.a(x)) * torch.tanh(self.b(y)))}


class Text(nn.Module):
    """Token ids (B, 5), looked up and read by attention to (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """Class scores."""
        h = self.words(ids)
        scores: Tensor = self.head(torch.tanh(F.scaled_dot_product_attention(self.mix(h), h, h)).mean(1))
        return scores


def last_is_first(x: Tensor) -> Tensor:
    """A plain function of (B, 4) with one score a row; feature 2 is ignored."""
    return torch.exp(0.3 * x[:, 0]) * x[:, 1] + x[:, 3] ** 3


def _images() -> Case:
    inputs, baseline = normal(3, 2, 5, 5), 0.3 * normal(1, 2, 5, 5, seed=1)
    return Case("images", seeded(CNN()), inputs, 1, baseline, ("again",), (0, 2, 2), smooth=False)


def _named() -> Case:
    inputs = {"x": normal(3, 3), "y": normal(3, 2, seed=1)}
    return Case("named inputs", seeded(Named()), inputs, [2, 0, 1], map_tree(lambda t: 0.1 * t, inputs), ("out",))


def _tokens() -> Case:
    ids = torch.tensor([[1, 5, 3, 0, 2], [8, 1, 1, 7, 4], [2, 6, 0, 3, 3]])
    return Case("token ids", seeded(Text()), ids, "predicted", None, ("words", "head"), (1, 2))


CASES: dict[str, Callable[[], Case]] = {
    "rows": lambda: Case("rows", seeded(MLP()), normal(4, 6), 2, 0.1 * normal(4, 6, seed=1), ("first", "act"), 3),
    "function": lambda: Case("a plain function", last_is_first, normal(3, 4)),
    "images": _images,
    "named": _named,
    "tokens": _tokens,
}
