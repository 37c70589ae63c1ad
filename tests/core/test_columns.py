"""Points that differ in a few columns give what points in full give, however a model treats them; and cost less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import enodo
from enodo.core import ways
from enodo.core.columns import Columns, Sparing

N = 48


class Twice(nn.Module):
    """A linear layer with another use of what it is given, by `matmul` and as a product of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(N, N), nn.Linear(N, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)) + x) + x @ self.second.weight.T + x[:, :3] * x[:, 3:6]


class Writing(nn.Module):
    """Writes into its input by all of its names, between uses of it and of copies."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(N, 3)

    def forward(self, x: Tensor) -> Tensor:
        before, other = self.layer(x), x.clone()
        x.detach()[:, :5].mul_(3)
        middle = self.layer(x)
        x += 1
        return before - middle * self.layer(x) + self.layer(other)


class Beyond(nn.Module):
    """Code that no mode sees, and numbers read out."""

    def __init__(self, traced: bool) -> None:
        super().__init__()
        layer = nn.Linear(N, 3).double()
        self.layer: Callable[[Tensor], Tensor] = (
            torch.jit.trace(layer, torch.zeros(1, N).double()) if traced else layer  # type: ignore[no-untyped-call]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.from_numpy(x.detach().numpy()[:, :3] ** 2) if len(x) > 1 else self.layer(x)


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(N, 32), nn.ReLU(), nn.Linear(32, 3)),
    "without bias": lambda: nn.Sequential(nn.Linear(N, 32, bias=False), nn.Tanh(), nn.Linear(32, 3)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm1d(N), nn.Linear(N, 3)),
    "twice": Twice,
    "writing": Writing,
    "beyond": lambda: Beyond(False),
    "traced": lambda: nn.Sequential(Beyond(True), nn.Tanh()),
}
X = torch.randn(5, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
GROUPS = torch.arange(N) ** 2 % 23 * 3  # of 2 to 5 columns, apart, in no order
ASKED = {
    "each": {},
    "groups": {"features": GROUPS},
    "some": {"features": enodo.Features.tokens([[None if c % 5 else c // 20 for c in range(N)]])},
    "row": {"baseline": X.mean(0)},
    "rows": {"baseline": X.flip(0), "batch_size": 4},
    "background": {"baseline": enodo.Absence.background(X[:3] + 1), "batch_size": 35},
    "targets": {"target": "all"},
    "permuted": {"method": "feature_permutation", "samples": 2},
    "predicted": {"target": "predicted"},
}


def model(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name]().double().eval()


def ask(net: nn.Module, given: dict, monkeypatch: pytest.MonkeyPatch, worth: int):
    monkeypatch.setattr(ways, "WORTH", worth)
    return enodo.explain(net, X, **{"method": "feature_ablation", "target": 1, **given})


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", MODELS)
def test_the_same_as_points_in_full(name, asked, monkeypatch) -> None:
    used = []
    begun = Sparing.__init__
    monkeypatch.setattr(Sparing, "__init__", lambda self, points: (used.append(self), begun(self, points))[1])
    net = model(name)
    found = ask(net, ASKED[asked], monkeypatch, 0)
    assert used
    assert all(mode.spared for mode in used if name in ("mlp", "without bias", "twice"))
    whole = ask(net, ASKED[asked], monkeypatch, 1 << 40)
    torch.testing.assert_close(found.tensor, whole.tensor, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.scores, whole.scores, rtol=1e-12, atol=1e-12)
    assert found.rows <= whole.rows + 40  # a pass that could not be made in this way is made again


def test_a_product_of_what_differs() -> None:
    points = Columns(X, torch.tensor([[3, 7], [0, 1]]), torch.randn(2, 5, 2, dtype=X.dtype))
    whole = points.whole().unflatten(0, (2, 5))
    true = X.repeat(2, 1, 1)
    true[0][:, [3, 7]], true[1][:, [0, 1]] = points.new[0], points.new[1]
    assert torch.equal(whole, true)
    matrix, bias = torch.randn(N, 4, dtype=X.dtype), torch.randn(4, dtype=X.dtype)
    torch.testing.assert_close(points.times(matrix, bias), (true @ matrix + bias).flatten(0, 1))
    torch.testing.assert_close(points.times(matrix), (true @ matrix).flatten(0, 1))


def test_a_wide_table_costs_little_in_its_first_layer(monkeypatch) -> None:
    net = nn.Sequential(nn.Linear(600, 32), nn.ReLU(), nn.Linear(32, 1)).eval()
    x, counts = torch.randn(1, 600), []
    for worth in (0, 1 << 40):
        monkeypatch.setattr(ways, "WORTH", worth)
        with FlopCounterMode(display=False) as counter:
            enodo.explain(net, x, "feature_ablation", target=0)
        counts.append(counter.get_total_flops())
    assert counts[0] < counts[1] / 50


def test_low_precision_by_autocast_stays_so() -> None:
    net, x = nn.Sequential(nn.Linear(400, 8), nn.Linear(8, 2)).eval(), torch.randn(1, 400)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        lost = net(x) - net(x * (1 - torch.eye(400)))
        found = enodo.explain(net, x, "feature_ablation", target=0).tensor
    assert torch.equal(found[0], lost[:, 0].to(found.dtype))
