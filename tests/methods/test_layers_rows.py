"""Layers whose values count the rows in another dimension, or have one value for all rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo


class Recurrent(nn.Module):
    """As many layers as rows, so that the states' dimensions cannot be told apart by size."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=batch_first)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x if self.lstm.batch_first else x.transpose(0, 1))
        return self.head(h[-1])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("method", ["integrated_gradients", "conductance", "gradient", "activation", "smoothgrad"])
def test_the_states_of_an_lstm(batch_first: bool, method: str) -> None:
    torch.manual_seed(0)
    model = Recurrent(batch_first).double().eval()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    found = enodo.explain(model, x, method, target=1, wrt="lstm")
    out, (h, c) = found.values
    assert out.shape == ((2, 5, 4) if batch_first else (5, 2, 4))
    assert h.shape == c.shape == (2, 2, 4)  # (layers, rows, H)
    by_row = enodo.explain(model, x, method, target=1, wrt="lstm", batch_size=1).values[1][0]
    first = enodo.explain(model, x[:1], method, target=1, wrt="lstm").values[1][0]
    assert torch.allclose(h, by_row, atol=1e-12)
    assert torch.allclose(h[:, :1], first, atol=1e-12)
    assert method == "activation" or h[1].abs().sum() > 0
    if method == "gradient":  # the score is linear in the last layer's state
        assert torch.allclose(h[1], model.head.weight[1].expand(2, 4))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "lrp", "feature_ablation"])
def test_a_neuron_of_an_lstm(batch_first: bool, method: str) -> None:
    """Its number does not depend on where the layer has the rows."""
    torch.manual_seed(0)
    model = Recurrent(batch_first).double().eval()
    x = torch.randn(2, 2, 3, dtype=torch.float64)  # as many steps as rows and layers
    for of, target in (("lstm[0]", (1, 2)), ("lstm[1][0]", (0, 3)), ("lstm[1][1]", (1, 0))):
        found = enodo.explain(model, x, method, of=of, target=target)
        out, states = model.lstm(x if batch_first else x.transpose(0, 1))
        value = out[:, 1, 2] if batch_first else out[1, :, 2]
        value = value if of == "lstm[0]" else states[int(of[-2])][target[0], :, target[1]]
        torch.testing.assert_close(found.scores, value)
        alone = enodo.explain(model, x, method, of=of, target=target, batch_size=1)
        torch.testing.assert_close(found.tensor, alone.tensor)


class Positions(nn.Module):
    """One row of positions is added to every row of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(4, 3)
        self.body = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(12, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x + self.positions(torch.arange(4)[None]))


def test_one_value_for_all_rows_is_explained_row_by_row() -> None:
    torch.manual_seed(0)
    model = Positions().double().eval()
    x = torch.randn(3, 4, 3, dtype=torch.float64)
    found = enodo.explain(model, x, "gradient", wrt="positions")
    assert found.shape == (3, 4, 3)
    assert torch.allclose(found.tensor, enodo.explain(model, x, "gradient").tensor)  # it is added to the input


class Shared(nn.Module):
    """A layer whose value has nothing to do with rows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale(torch.ones(7, 2)).sum()).sum(1)


def test_a_value_without_rows_is_refused_by_name() -> None:
    with pytest.raises(enodo.BadArgument, match=r"wrt: .*shape \(7, 5\).*3 rows"):
        enodo.explain(Shared().eval(), torch.randn(3, 4), "gradient", wrt="scale")
