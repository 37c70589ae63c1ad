"""RevealCancel against its paper's example of a minimum, and by hand (Shrikumar et al. 2017, section 3.5.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing.models import normal
from tests.rules.nets import ACTIVATIONS, settled
from tests.rules.test_completeness import need_complete

RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "module in place": nn.ReLU(inplace=True),
    "in place, answer ignored": lambda h: (h.relu_(), h)[1],
    "clamp": lambda h: h.clamp(min=0),
}


def minimum(relu: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """min(a, b) = a - relu(a - b), the example of the paper."""
    return lambda x: x[:, 0] - relu(F.linear(x, torch.tensor([[1.0, -1.0]], dtype=x.dtype)))[:, 0]


@pytest.mark.parametrize("name", RELUS)
def test_both_inputs_of_a_minimum_matter(name: str) -> None:
    """From zero, each carries half of min(a, b); the rescale rule gives all of it to the smaller one."""
    x = torch.tensor([[5.0, 2.0], [1.0, 4.0]])
    found = enodo.explain(minimum(RELUS[name]), x, "deeplift", rule="reveal_cancel").tensor
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [0.5, 0.5]]))
    rescaled = enodo.explain(minimum(RELUS[name]), x, "deeplift").tensor
    torch.testing.assert_close(rescaled, torch.tensor([[0.0, 2.0], [1.0, 0.0]]))


A, B, ONE = torch.tensor([1.0, -1.0]), torch.tensor([0.0, -1.0]), torch.ones(1)
DIFFERENCES: dict[str, Callable[[Tensor], Tensor]] = {  # a - b
    "sub": lambda x: x[:, 0] - x[:, 1],
    "in place": lambda x: x[:, 0].clone().sub_(x[:, 1]),
    "matmul": lambda x: x @ A,
    "einsum": lambda x: torch.einsum("i,bi->b", A, x),
    "addmm": lambda x: torch.addmm(torch.zeros(1), x, A[:, None])[:, 0],
    "bmm": lambda x: torch.bmm(x[:, None], A[None, :, None].expand(len(x), 2, 1))[:, 0, 0],
    "conv_transpose": lambda x: F.conv_transpose1d(x[:, :, None], A[:, None, None])[:, 0, 0],
    "batch norm": lambda x: 1 - F.batch_norm(F.linear(x, A[None]), ONE, ONE, -ONE, eps=0)[:, 0],
    "mean": lambda x: (2 * x * A).mean(1),
    "average pool": lambda x: F.avg_pool1d((x * A)[:, None], 2)[:, 0, 0] / 0.5,
    "moved": lambda x: F.linear(x, A[None]).t().reshape(1, -1)[0].flip(0).flip(0),
    "residual": lambda x: x[:, 0] + F.linear(x, B[None])[:, 0],
    "residual, in place": lambda x: F.linear(x, B[None])[:, 0].add_(x[:, 0]),
    "a bias that is computed": lambda x: torch.addmm(x[:, :1], x, B[:, None])[:, 0],
    "joined": lambda x: torch.cat([F.linear(x, A[None]), x], 1)[:, 0],
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_however_what_is_compared_is_added_up(name: str) -> None:
    x = torch.tensor([[5.0, 2.0], [1.0, 4.0]])
    ask = {"method": "deeplift", "rule": "reveal_cancel"}
    found = enodo.explain(lambda x: x[:, 0] - DIFFERENCES[name](x).relu(), x, **ask).tensor
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [0.5, 0.5]]))


def test_several_terms_of_both_signs_by_hand() -> None:
    """tanh(u - 2 v) of u = a - b and v = b - c: p is what speaks for u and against v, p = a + 2 c; n = -b - 2 b."""
    x = torch.tensor([[0.4, 0.5, 0.3]], dtype=torch.float64)
    layer = torch.tensor([[1.0, -1, 0], [0, 1, -1]], dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        u, v = F.linear(x, layer[:1]), F.linear(x, layer[1:])
        return (u - v * 2).tanh()[:, 0]

    p, n, f = torch.tensor(1.0).double(), torch.tensor(-1.5).double(), torch.tanh
    plus, minus = (f(p) + f(n + p) - f(n)) / 2, (f(n) + f(p + n) - f(p)) / 2
    found = enodo.explain(model, x, "deeplift", rule="reveal_cancel").tensor
    torch.testing.assert_close(found, torch.stack([plus * 0.4, minus, plus * 0.6])[None])


def test_a_residual_network_with_norms_is_complete() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            """(B, 2, 4, 4) -> (B, 3)."""
            y = self.norm(self.conv(x)).relu_()
            y = self.norm(self.conv(y))
            y += x
            scores: Tensor = self.head(F.avg_pool2d(y.relu_(), 4).flatten(1).tanh())
            return scores

    model, x, x0 = settled(Residual()), normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    need_complete(model, x, x0, target=1, rule="reveal_cancel")
    need_complete(model, x, x0, target="all", rule="reveal_cancel")


def test_a_conjunction_that_is_off() -> None:
    """relu(a + b - 1) at (1, -1): p = 1 and n = -1 cancel, and each order gives dy+ = (0 + 0) / 2 = 0, dy- = 0; from
    (1, 1) to (1, 0) all is b's."""
    model = lambda x: F.relu(F.linear(x, torch.ones(1, 2), -torch.ones(1)))[:, 0]  # noqa: E731
    ask = {"method": "deeplift", "rule": "reveal_cancel"}
    assert enodo.explain(model, torch.tensor([[1.0, -1.0]]), **ask).tensor.abs().max() == 0
    found = enodo.explain(model, torch.tensor([[1.0, 0.0]]), baseline=torch.ones(1, 2), **ask).tensor
    torch.testing.assert_close(found, torch.tensor([[0.0, -1.0]]))


def test_the_formula_by_hand() -> None:
    """tanh(3 a - 2 b) from (0.1, 0.2) to (0.5, 0.6): z0 = -0.1, p = 1.2, n = -0.8."""
    x, x0 = torch.tensor([[0.5, 0.6]]).double(), torch.tensor([[0.1, 0.2]]).double()
    f, z0, p, n = torch.tanh, torch.tensor(-0.1).double(), 1.2, -0.8
    plus = (f(z0 + p) - f(z0) + f(z0 + n + p) - f(z0 + n)) / 2
    minus = (f(z0 + n) - f(z0) + f(z0 + p + n) - f(z0 + p)) / 2
    weights = torch.tensor([[3.0, -2.0]]).double()
    found = enodo.explain(lambda x: F.linear(x, weights).tanh()[:, 0], x, "deeplift", baseline=x0, rule="reveal_cancel")
    torch.testing.assert_close(found.tensor, torch.stack([plus, minus])[None])


@pytest.mark.parametrize("name", ["ReLU", "ELU", "Tanh", "GELU", "Softplus", "Hardswish", "in place"])
def test_completeness(name: str) -> None:
    layers = nn.Linear(5, 6), ACTIVATIONS[name](), nn.Linear(6, 6), ACTIVATIONS[name](), nn.Linear(6, 3)
    model, x, x0 = settled(nn.Sequential(*layers)), normal(4, 5), normal(4, 5, seed=1)
    need_complete(model, x, x0, target=1, rule="reveal_cancel")
    need_complete(model, x, x0, target="all", rule="reveal_cancel")


def test_convolutions_and_a_value_used_twice() -> None:
    first, second = settled(nn.Conv2d(2, 4, 3, padding=1)), settled(nn.ConvTranspose2d(4, 3, 2))

    def model(x: Tensor) -> Tensor:
        h = first(x)
        return (second(h.relu() + h.tanh()).sigmoid() + F.relu(h.mean((1, 2, 3)))[:, None, None, None]).sum((1, 2, 3))

    need_complete(model, normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1), rule="reveal_cancel")


def test_without_cancellation_it_is_the_rescale_rule() -> None:
    weights = normal(4, 5).abs()
    model = lambda x: (F.linear(x, weights, normal(4, seed=3)).tanh()).sum(1)  # noqa: E731
    x, x0 = normal(3, 5, seed=1).abs(), torch.zeros(3, 5, dtype=torch.float64)
    both = [enodo.explain(model, x, "deeplift", baseline=x0, rule=rule).tensor for rule in ("rescale", "reveal_cancel")]
    torch.testing.assert_close(both[0], both[1])


def test_over_a_background() -> None:
    model = settled(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)))
    x, background = normal(3, 5), normal(4, 5, seed=1)
    found = enodo.explain(model, x, "deeplift_shap", baseline=background, target=1, rule="reveal_cancel")
    every = [enodo.explain(model, x, "deeplift", baseline=b, target=1, rule="reveal_cancel").tensor for b in background]
    torch.testing.assert_close(found.tensor, torch.stack(every).mean(0))
