"""Small models of every kind that a user may bring, each with a question. All in float64 and eval mode.

`ZOO` has models whose inputs are numbers, by name; `same_relus()` writes one function in many ways. Models that read
token ids are in `zoo_text`.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enodo.testing import Case
from enodo.testing.models import CNN, MLP, Named, normal, seeded


class Relus(nn.Module):
    """Two hidden layers whose activation is given: a module, a function, or something that writes in place."""

    def __init__(self, *acts: Any, before: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.acts = nn.ModuleList(a for a in acts if isinstance(a, nn.Module))
        self.calls, self.before = acts, before

    def forward(self, x: Tensor) -> Tensor:
        x = x + 1 if self.before is None else self.before(x)
        h = self.calls[0](self.first(x))
        return self.head(self.calls[-1](self.second(h) + h))


class Residual(nn.Module):
    """Convolution, batch norm, max pooling, dropout, a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.pool = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.body, self.drop, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Dropout(0.5), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(F.relu(self.norm(self.stem(x))))
        return self.head(self.drop(F.relu(self.body(h) + h).mean((2, 3))))


class Attention(nn.Module):
    """nn.MultiheadAttention, which returns (values, weights), called with keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.attention(query=x, key=x, value=x, need_weights=False)
        return self.head(torch.tanh(h).mean(1))


class Encoder(nn.Module):
    """A transformer encoder layer, norm first or last."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, 0.1, "gelu", batch_first=True, norm_first=norm_first)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[:, 0])


class Recurrent(nn.Module):
    """An LSTM or a GRU; the rows come second inside, as these layers have it by default."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn, self.head = kind(3, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(0, 1))[0][-1])


class Unrolled(nn.Module):
    """A cell that runs once for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.Linear(3 + 4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            h = torch.tanh(self.cell(torch.cat([x[:, t], h], 1)))
        return self.head(h)


class Two(nn.Module):
    """Two inputs, and arguments: one with rows, into which the model writes, and others."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor, shift: Tensor, names: list[str], scale: float = 1.0) -> Tensor:
        return self.out(torch.tanh(self.a(x) * self.b(y) + shift.mul_(2)[:, None]) * scale * len(names))


@dataclass
class Scored:
    """An output that is neither tensor, tuple nor dict."""

    scores: Tensor
    label: str


class Inner(nn.Module):
    """A layer that returns (tensor, None)."""

    def forward(self, *, h: Tensor) -> tuple[Tensor, None]:
        return torch.tanh(h), None


class Returning(nn.Module):
    """An MLP whose output is wrapped, with an inner layer that is called by keyword and returns a pair."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.inner, self.second, self.wrap = nn.Linear(4, 5), Inner(), nn.Linear(5, 3), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.second(self.inner(h=self.first(x))[0]))


class Dense(nn.Module):
    """A score for each class at each place, (B, 2, 4, 4) -> (B, 3, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.conv(x)))


class Regression(nn.Module):
    """One number a row: (B,), or (B, 1) with `keep`."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.first, self.second, self.keep = nn.Linear(4, 5), nn.Linear(5, 1), keep

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.tanh(self.first(x)))
        return y if self.keep else y.squeeze(1)


class Unused(nn.Module):
    """Two inputs, of which the second only gives a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.first(x)) + 0 * y.shape[0]


def powers(x: Tensor, power: int) -> Tensor:
    """A function with an argument that functools.partial sets."""
    return (x**power).sum(1, keepdim=True) * torch.cos(x)


def _dense_mask() -> Tensor:
    mask = torch.zeros(3, 4, 4, dtype=torch.bool)
    mask[1, :2] = True
    return mask


def _case(name: str, model: Any, inputs: Any, target: Any = 1, **more: Any) -> Case:
    return Case(name, seeded(model) if isinstance(model, nn.Module) else model, inputs, target, **more)


def _pair() -> tuple[Tensor, Tensor]:
    return normal(3, 3), normal(3, 2, seed=1)


def _two() -> Case:
    base = (0.1 * normal(3, 3, seed=3), None)
    more = {"layers": ("out",), "args": (normal(3, seed=2), ["a", "b"]), "kwargs": {"scale": 0.5}}
    return _case("two inputs", Two(), _pair(), [0, 2, 1], baseline=base, **more)


def _logits(y: Tensor) -> Any:
    return OrderedDict(loss=None, logits=y, hidden=(y * 2, y.relu()))


x4 = functools.partial(normal, 3, 4)
seq = functools.partial(normal, 3, 5, 4)
SHARP = {"smooth": False}

ZOO: dict[str, Callable[[], Case]] = {
    "mlp": lambda: _case("mlp", MLP(), normal(4, 6), 2, baseline=0.1 * normal(4, 6, seed=1), layers=("first", "act")),
    "cnn": lambda: _case("cnn", CNN(), normal(3, 2, 5, 5), "predicted", layers=("again",), neuron=(0, 2, 2), **SHARP),
    "residual": lambda: _case(
        "residual", Residual(), normal(3, 2, 6, 6), [1, 0, 3], layers=("pool", "body"), neuron=(1, 1, 1), **SHARP
    ),
    "attention": lambda: _case("attention", Attention(), seq(), layers=("head",), neuron=2),
    "post-norm encoder": lambda: _case(
        "post-norm encoder", Encoder(False), seq(), layers=("layer", "layer.linear1"), neuron=(0, 1), **SHARP
    ),
    "pre-norm encoder": lambda: _case(
        "pre-norm encoder", Encoder(True), seq(), layers=("layer", "layer.linear1"), neuron=(0, 1), **SHARP
    ),
    "lstm": lambda: _case("lstm", Recurrent(nn.LSTM), normal(3, 4, 3), layers=("head",), neuron=2),
    "gru": lambda: _case("gru", Recurrent(nn.GRU), normal(3, 4, 3), layers=("head",), neuron=2),
    "unrolled": lambda: _case("unrolled", Unrolled(), normal(3, 4, 3), layers=("cell", "cell@3:in"), neuron=3),
    "two inputs": _two,
    "named inputs": lambda: _case(
        "named inputs", Named(), dict(zip("xy", _pair(), strict=True)), [2, 0, 1], layers=("out",)
    ),
    "dict out": lambda: _case("dict out", Returning(_logits), x4(), layers=("first", "inner[0]"), neuron=2),
    "tuple out": lambda: _case("tuple out", Returning(lambda y: (y, None)), x4(), layers=("first",), neuron=2),
    "dataclass out": lambda: _case(
        "dataclass out", Returning(lambda y: Scored(y, "label")), x4(), layers=("inner:in['h']",), neuron=2
    ),
    "callable target": lambda: _case(
        "callable target",
        Returning(lambda y: [y, y * y]),
        x4(),
        lambda out: out[1][:, 0] - out[0][:, 2],
        layers=("first",),
    ),
    "dense": lambda: _case("dense", Dense(), normal(3, 2, 4, 4), (1, 2, 3), layers=("conv",), neuron=(0, 1, 1)),
    "dense box": lambda: _case("dense box", Dense(), normal(3, 2, 4, 4), (2, slice(0, 2), slice(1, 3))),
    "dense mask": lambda: _case("dense mask", Dense(), normal(3, 2, 4, 4), _dense_mask()),
    "scalar": lambda: _case("scalar", Regression(False), x4(), None, layers=("first",), neuron=2),
    "scalar column": lambda: _case("scalar column", Regression(True), x4(), None, layers=("first",), neuron=2),
    "function": lambda: _case("function", functools.partial(powers, power=2), x4()),
    "in place on the inputs": lambda: _case("in place on the inputs", Relus(F.relu, before=_shift), x4(), **SHARP),
    "unused input": lambda: _case("unused input", Unused(), _pair(), layers=("first",)),
    "one row": lambda: _case("one row", MLP(), normal(1, 6), 2, layers=("first", "act")),
}


def _shift(x: Tensor) -> Tensor:
    x += 1
    return x


def same_relus() -> list[Case]:
    """One function, its activations written in all the ways that PyTorch knows."""
    relu = nn.ReLU()
    ways: dict[str, Relus] = {
        "functional relu": Relus(F.relu),
        "torch.relu": Relus(torch.relu),
        "a method": Relus(lambda h: h.relu()),
        "clamp": Relus(lambda h: h.clamp(min=0)),
        "two modules": Relus(nn.ReLU(), nn.ReLU()),
        "one module, used twice": Relus(relu, relu),
        "modules in place": Relus(nn.ReLU(inplace=True), nn.ReLU(inplace=True)),
        "one module in place, used twice": Relus(nn.ReLU(inplace=True)),
        "a function in place": Relus(lambda h: F.relu(h, inplace=True)),
        "a method in place": Relus(lambda h: h.relu_()),
        "the inputs in place": Relus(F.relu, before=_shift),
        "half of it in place": Relus(lambda h: h.relu_(), nn.ReLU()),
    }
    return [_case(name, model, x4(), layers=("first", "second"), neuron=2, **SHARP) for name, model in ways.items()]
