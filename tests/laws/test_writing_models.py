"""Models that write into buffers in eval mode: counters, tables, running statistics of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing import State
from enodo.testing.models import normal, seeded


class Writing(nn.Module):
    """(B, 4) -> (B, 3), what is written being `write(self, x)`."""

    def __init__(self, write: Callable[[Writing, Tensor], None]) -> None:
        super().__init__()
        self.layer, self.write = nn.Linear(4, 3), write
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("table", torch.zeros(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.write(self, x)
        y: Tensor = self.layer(x - self.mean)
        return y.tanh()


def _exchanged(m: Writing, x: Tensor) -> None:
    m.mean = 0.9 * m.mean + 0.1 * x.detach().mean(0)


def _sometimes(m: Writing, x: Tensor) -> None:
    if x.sum() > 50:
        m.calls.fill_(7)


WRITES: dict[str, Callable[[Writing, Tensor], object]] = {
    "a counter": lambda m, x: m.calls.add_(1),
    "an operator": lambda m, x: m.__setattr__("calls", m.calls.__iadd__(1)),
    "a running mean": lambda m, x: m.mean.lerp_(x.detach().mean(0), 0.1),
    "a row of a table": lambda m, x: m.table[: len(x)].copy_(x[:8].detach()),
    "another buffer in its place": _exchanged,
}
METHODS = ["gradient", "integrated_gradients", "deeplift", "lrp", "feature_ablation", "activation"]


def ask(model: nn.Module, x: Tensor, method: str) -> enodo.Attribution:
    place = {"wrt": "layer"} if method == "activation" else {"target": 1}
    return enodo.explain(model, x, method, **place)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [n for n in WRITES if n != "another buffer in its place"])
def test_buffers_are_as_before(name: str, method: str) -> None:
    model, x = seeded(Writing(WRITES[name])), normal(3, 4)
    for _ in range(2):
        before = State(model, x)
        ask(model, x, method)
        assert not before.changes()


@pytest.mark.parametrize("method", METHODS)
def test_buffers_that_are_exchanged_are_put_back(method: str) -> None:
    """Each pass starts from the same buffers, so that the answer is that of the model as it is."""
    model, x = seeded(Writing(_exchanged)), normal(3, 4)
    mean = model.mean
    first, second = (ask(model, x, method) for _ in range(2))
    assert model.mean is mean
    assert torch.equal(first.tensor, second.tensor)


def test_a_model_that_is_quiet_is_watched_for_writes() -> None:
    """It was known not to write until it did; from then on it is given copies again."""
    model, x = seeded(Writing(_sometimes)), normal(3, 4)
    ask(model, x, "gradient")
    ask(model, x + 10, "gradient")
    model.calls.zero_()
    ask(model, x + 10, "gradient")
    assert model.calls == 0


def test_a_pass_that_is_left_early_does_not_tell_that_a_model_is_quiet() -> None:
    model, x = seeded(nn.Sequential(nn.Linear(4, 4), Writing(WRITES["a counter"]))), normal(3, 4)
    for question in ({"method": "activation", "wrt": "0@0"}, {"of": "0@0", "target": 1}, {"target": 1}):
        enodo.explain(model, x, **question)
    assert model[1].calls == 0
