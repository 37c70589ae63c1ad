"""Small models that both libraries can explain, each with inputs, the layers to ask at, and targets of every form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Model(nn.Module):
    """Born in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.training = False


class MLP(Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.first(x)))


class CNN(Model):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu, self.pool = nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.conv2, self.soft, self.fc = nn.Conv2d(4, 3, 2), nn.Softplus(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        return self.fc(torch.flatten(self.soft(self.conv2(x)), 1))


class Functional(Model):
    """Activations as functions, one module used twice, and in-place code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.first(torch.sin(x)))
        h = F.softplus(h + x).mul_(2)
        return self.second(h * torch.sigmoid(h))


class Pair(Model):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a.tanh(), b.sigmoid()


class Several(Model):
    """Two inputs, further arguments that are no rows, and a layer that takes and returns a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pair, self.out = nn.Linear(3, 4), nn.Linear(2, 4), Pair(), nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor, shift: Tensor | None = None, power: int = 1, mode: str = "plus") -> Tensor:
        u, v = self.pair(self.a(x), self.b(y))
        u = u if shift is None else u + shift[:, None]
        return self.out((u + v if mode == "plus" else u * v) ** power)


class Text(Model):
    """Token ids to two classes, by way of an LSTM or a mean."""

    def __init__(self, recurrent: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, batch_first=True) if recurrent else None
        self.head = nn.Linear(5 if recurrent else 6, 2)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.embedding(ids)
        h = h if self.lstm is None else self.lstm(h)[0]
        mask = torch.ones_like(ids) if mask is None else mask
        return self.head(((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).tanh())


class Dense(Model):
    """One score for each of several places: outputs of shape (B, 3, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).tanh()


class Scalar(Model):
    """One score a row: outputs of shape (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))).squeeze(1)


@dataclass
class Case:
    """A model with what it is asked."""

    model: nn.Module
    inputs: Any
    baselines: Any
    target: Any
    layers: tuple[str, ...]  # with one tensor as value, on the path from the inputs to the output
    neuron: Any = 1
    args: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def layer(self, name: str) -> nn.Module:
        return self.model.get_submodule(name)


def _seeded(make: Callable[[], Case]) -> Callable[[], Case]:
    def build() -> Case:
        torch.manual_seed(0)
        case = make()
        case.model.eval()
        return case

    return build


def _several() -> Case:
    inputs = (torch.randn(3, 3), torch.randn(3, 2))
    return Case(
        Several(), inputs, (torch.randn(3, 3), 0.5), [0, 2, 1], ("a", "b", "out"), args=(torch.randn(3), 2, "times")
    )


CASES: dict[str, Callable[[], Case]] = {
    "mlp": _seeded(lambda: Case(MLP(), torch.randn(3, 5), torch.randn(3, 5), 2, ("first", "act", "second"))),
    "cnn": _seeded(
        lambda: Case(
            CNN(), torch.randn(2, 2, 8, 8), torch.randn(1, 2, 8, 8), torch.tensor([1, 0]), ("conv1", "pool", "fc")
        )
    ),
    "functional": _seeded(lambda: Case(Functional(), torch.randn(4, 5), 0.1, 0, ("first", "second"))),
    "several": _seeded(_several),
    "dense": _seeded(lambda: Case(Dense(), torch.randn(2, 2, 4, 4), None, (1, 2, 3), ("conv",), neuron=(0, 1, 1))),
    "scalar": _seeded(
        lambda: Case(Scalar(), torch.randn(3, 5), torch.randn(3, 5), None, ("first", "second"), neuron=0)
    ),
}


class Lambda(nn.Module):
    """A function as a module; Captum takes no other."""

    def __init__(self, fn: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.fn, self.modules_used = fn, nn.ModuleList(modules)
        self.eval()

    def forward(self, *x: Tensor) -> Tensor:
        """What the function returns."""
        return self.fn(*x)
