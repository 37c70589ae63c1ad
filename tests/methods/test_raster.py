"""Tokens in another order than the picture's are no grid of it: found out by asking a few where they come from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal, seeded

SIDE = 6  # patches in each dimension


class Patches(nn.Module):
    """Two layers of attention, or of a mixing of all tokens, on the patches of pictures (B, 3, 24, 24)."""

    def __init__(self, order: Tensor | None = None, mixes: bool = False) -> None:
        super().__init__()
        self.patch, self.order, self.mixes = nn.Conv2d(3, 8, 4, 4), order, mixes
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.across = nn.ModuleList(nn.Linear(SIDE**2, SIDE**2) for _ in range(2))
        self.mlp, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT
        x = x if self.order is None else x[:, self.order]
        for norm, attend, across, mlp in zip(self.norms, self.attention, self.across, self.mlp, strict=True):
            h = norm(x)
            h = across(h.mT).mT if self.mixes else attend(h, h, h)[0]
            x = x + h
            x = x + torch.tanh(mlp(x))
        return self.head(x.mean(1))


X = normal(2, 3, 4 * SIDE, 4 * SIDE)
UNITS = torch.arange(SIDE**2).view(3, 2, 3, 2).transpose(1, 2).flatten()  # 2 x 2 patches after one another
PLACES = ["patch", "norms.0", "mlp.0", "mlp.1"]


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("order", [UNITS, torch.arange(SIDE**2).flip(0)], ids=["units", "backwards"])
def test_another_order_is_refused(order: Tensor, place: str) -> None:
    model = seeded(Patches(order))
    with pytest.raises(enodo.BadArgument, match=r"reshape: .*another order"):
        enodo.explain(model, X, "grad_cam", target=1, wrt=place)

    def laid(t: Tensor) -> Tensor:
        return t[:, order.argsort()].mT.unflatten(2, (SIDE, SIDE))

    found = enodo.explain(model, X, "grad_cam", target=1, wrt=place, reshape=laid)
    plain = enodo.explain(seeded(Patches()), X, "grad_cam", target=1, wrt=place)
    torch.testing.assert_close(found.tensor, plain.tensor)


@pytest.mark.parametrize("mixes", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_line_by_line_is_a_grid(place: str, mixes: bool) -> None:
    found = enodo.explain(seeded(Patches(mixes=mixes)), X, "layer_cam", target=1, wrt=place)
    assert found.tensor.shape == (2, 1, SIDE, SIDE)
