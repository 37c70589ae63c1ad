"""Activations: what a layer computes, seen in as little of a pass as it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo import INPUT, BadArgument, Point
from tests.methods.models import Mlp, uniform


class Recurrent(nn.Module):
    """An LSTM (nested output), a cell that runs three times, and a head that must not run for an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.cell = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.ran = 0
        self.head.register_forward_hook(self._count)
        self.double().eval()

    def _count(self, *_: Any) -> None:
        self.ran += 1

    def forward(self, x: Tensor) -> Tensor:
        y, (h, _) = self.lstm(x)
        state = y[:, -1] + h[0]
        for _ in range(3):
            state = torch.tanh(self.cell(state))
        return self.head(state)


def test_the_values_of_each_side_of_a_layer():
    model, x = Mlp(4), uniform(3, 4)
    h = model.first(x).detach()
    assert torch.equal(enodo.explain(model, x, "activation", wrt="first").tensor, h)
    assert torch.equal(enodo.explain(model, x, "activation", wrt="act1:in").tensor, h)
    assert torch.equal(enodo.explain(model, x, "activation", wrt=model.act1).tensor, torch.tanh(h))
    assert torch.equal(enodo.explain(model, x, "activation").tensor, x)


def test_no_target_is_needed_and_no_score_is_made():
    got = enodo.explain(Mlp(4), uniform(3, 4), "activation", wrt="act1")
    assert got.scores is None
    assert got.rows == 3


def test_the_pass_is_left_once_the_layer_has_run():
    model, x = Recurrent(), uniform(2, 5, 3)
    enodo.explain(model, x, "activation", wrt=Point("cell", call=1))
    assert model.ran == 0
    enodo.explain(model, x, "gradient", wrt=Point("cell", call=1), target=0)
    assert model.ran > 0


def test_each_call_of_a_layer_and_the_last_by_default():
    model, x = Recurrent(), uniform(2, 5, 3)
    y, (h, _) = model.lstm(x)
    states = [y[:, -1] + h[0]]
    for _ in range(3):
        states.append(torch.tanh(model.cell(states[-1])))
    wanted = [model.cell(s).detach() for s in states]
    for call in range(3):
        got = enodo.explain(model, x, "activation", wrt=f"cell@{call}")
        torch.testing.assert_close(got.tensor, wanted[call])
        assert not got.notes
    last = enodo.explain(model, x, "activation", wrt="cell")
    torch.testing.assert_close(last.tensor, wanted[2])
    assert len(last.notes) == 1
    assert "3 times" in last.notes[0]
    torch.testing.assert_close(enodo.explain(model, x, "activation", wrt="cell@-1").tensor, wanted[2])
    with pytest.raises(BadArgument, match="0 to 2"):
        enodo.explain(model, x, "activation", wrt="cell@3")


def test_a_nested_output_whole_and_in_part():
    model, x = Recurrent(), uniform(2, 5, 3)
    y, (h, c) = model.lstm(x)
    whole = enodo.explain(model, x, "activation", wrt="lstm").values
    torch.testing.assert_close(whole, (y.detach(), (h.detach(), c.detach())))
    torch.testing.assert_close(enodo.explain(model, x, "activation", wrt="lstm[0]").tensor, y.detach())
    torch.testing.assert_close(enodo.explain(model, x, "activation", wrt=Point("lstm")[1][0]).tensor, h.detach())


def test_several_places_are_a_tuple():
    model, x = Mlp(4), uniform(3, 4)
    got = enodo.explain(model, x, "activation", wrt=["act2", INPUT, "first"])
    assert [tuple(v.shape) for v in got.values] == [(3, 5), (3, 4), (3, 6)]
    assert torch.equal(got[1], x)
    assert got.rows == 3


def test_passes_stay_within_the_batch_size():
    model, x, sizes = Mlp(4, act=nn.ReLU), (8 * uniform(7, 4)).round(), []
    for p in model.parameters():  # sums of whole numbers are not rounded, by however many rows a product has
        p.data.mul_(8).round_()
    model.first.register_forward_hook(lambda m, i, o: sizes.append(len(o)))
    whole = enodo.explain(model, x, "activation", wrt="act1")
    sizes.clear()
    cut = enodo.explain(model, x, "activation", wrt="act1", batch_size=3)
    assert sizes == [3, 2, 2]
    assert torch.equal(whole.tensor, cut.tensor)


def test_a_layer_that_does_not_run_is_refused():
    model = Mlp(4)
    model.spare = nn.Linear(2, 2)
    with pytest.raises(BadArgument, match="spare"):
        enodo.explain(model, uniform(3, 4), "activation", wrt="spare")
