"""Average pools of many numbers are done as convolutions channel by channel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.tables import PLAIN
from enodo.rules import RESCALE
from enodo.testing.models import normal
from tests.rules.nets import settled

POOLS: dict[str, dict[str, Any]] = {
    "two": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1},
    "wide": {"kernel_size": (1, 4), "stride": (2, 1), "padding": (0, 2)},
    "padding that cannot count": {"kernel_size": [3], "stride": [2], "count_include_pad": False},
}
ELSE: dict[str, dict[str, Any]] = {
    "large": {"kernel_size": 4},
    "ceil": {"kernel_size": 2, "ceil_mode": True},
    "padding that does not count": {"kernel_size": 3, "padding": 1, "count_include_pad": False},
    "divided otherwise": {"kernel_size": 2, "divisor_override": 3},
}


def many() -> Tensor:
    return normal(2, 8, 65, 66).float().requires_grad_()


def treatment(x: Tensor, how: dict[str, Any]) -> Any:
    return RESCALE.entries["avg_pool2d"].choose(x, **how)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", POOLS)
def test_by_weights_it_is_the_same(name: str) -> None:
    x, how = many(), POOLS[name]
    y, by = F.avg_pool2d(x, **how), treatment(x, how).by(x, **how)
    torch.testing.assert_close(by, y)
    g = normal(*y.shape, seed=1).float()
    torch.testing.assert_close(torch.autograd.grad(by, x, g), torch.autograd.grad(y, x, g))


@pytest.mark.parametrize("name", ELSE)
def test_other_pools_are_left_alone(name: str) -> None:
    assert treatment(many(), ELSE[name]) is PLAIN


@pytest.mark.parametrize("x", [many()[:, :1], many().double(), many()[0]], ids=["few", "double", "no rows"])
def test_other_values_are_left_alone(x: Tensor) -> None:
    assert treatment(x, {"kernel_size": 2}) is PLAIN


@pytest.mark.parametrize("method", ["deeplift", "deeplift_shap"])
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_a_network_with_such_a_pool_is_explained_as_in_double_precision(method: str, rule: str) -> None:
    layers = [
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, 1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16 * 17 * 17, 2),
    ]
    model = settled(nn.Sequential(*layers))
    x, background = normal(8, 3, 35, 35), normal(3 if method == "deeplift_shap" else 1, 3, 35, 35, seed=1)
    exact = enodo.explain(model, x, method, target=1, baseline=background, rule=rule).tensor
    found = enodo.explain(model.float(), x.float(), method, target=1, baseline=background.float(), rule=rule).tensor
    assert (found - exact).norm() < 1e-5 * exact.norm()
