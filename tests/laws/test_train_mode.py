"""Train mode: one warning, dropout and batch statistics are part of the answer, and nothing is left behind."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo import TrainModeWarning
from enodo.testing import State
from enodo.testing.models import normal
from tests.zoo import Encoder, Residual


class Exchanging(nn.Module):
    """Counts its calls by exchanging a buffer for another, as code that does not know `add_` does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x.tanh()


@pytest.mark.parametrize("model", [Residual().double(), Exchanging()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("create_graph", [False, True])
def test_buffers_and_the_generator_are_as_before(model: nn.Module, create_graph: bool) -> None:
    model.train()
    x = normal(3, 2, 6, 6)
    x = x if isinstance(model, Residual) else x[:, 0, 0]
    before = State(model, x)
    with pytest.warns(TrainModeWarning) as met:
        enodo.explain(model, x, target=1, steps=3, batch_size=3, create_graph=create_graph)
    assert len(met) == 1
    assert not before.changes()


def test_batch_statistics_are_those_of_the_pass() -> None:
    """In train mode a row's score depends on its mates, and the score that is reported is the one in train mode."""
    model, x = nn.Sequential(nn.BatchNorm1d(3)).double().train(), normal(4, 3)
    expected = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt())[:, 1]
    with pytest.warns(TrainModeWarning):
        found = enodo.explain(model, x, "gradient", target=1)
    torch.testing.assert_close(found.scores, expected)


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_left_in_train_mode_is_noticed(training: bool) -> None:
    model = Residual().double().eval()
    model.drop.train(training)
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        enodo.explain(model, normal(3, 2, 6, 6), "gradient", target=1)
    assert [w.category for w in met] == [TrainModeWarning] * training


def test_threads_that_ask_for_second_derivatives_leave_attention_as_it_was() -> None:
    model, x = Encoder(norm_first=True).double().eval(), normal(3, 5, 4)
    before = State(model, x)

    def ask() -> None:
        for _ in range(5):
            enodo.explain(model, x, "gradient", target=1, create_graph=True)

    pool = [threading.Thread(target=ask) for _ in range(4)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert not before.changes()
