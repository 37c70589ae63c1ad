"""The rules of relevance propagation against their definitions, written as loops over what is summed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.rules import FIRST
from enodo.rules import lrp as rules
from enodo.testing.models import normal, seeded

X = torch.tensor([[1.0, 0.0, -2.0, 3.0]], dtype=torch.float64)
W = torch.tensor([[3.0, -1.0, 2.0, 1.0], [1.0, 2.0, -4.0, -4.0]], dtype=torch.float64)
B = torch.tensor([0.5, -1.5], dtype=torch.float64)


def lrp(model: Any, x: Tensor, **options: Any) -> Tensor:
    return enodo.explain(model, x, "lrp", **options).tensor


def layer(x: Tensor) -> Tensor:
    """Two sums, one of them positive and one negative, with weights 1 and 2 in the score."""
    return F.linear(x, W, B)


def score(y: Tensor) -> Tensor:
    return y[:, 0] + 2 * y[:, 1]


Contribution = Callable[[int, int], float]  # of value i to sum j


def by_definition(share: Contribution, of_bias: Callable[[int], float] = lambda j: 0.0) -> Tensor:
    """R_i = sum_j share(i, j) / (sum_k share(k, j) + of_bias(j)) R_j, for relevance R_j = z_j and 2 z_j of the sums."""
    z = layer(X)[0].tolist()
    totals = [sum(share(i, j) for i in range(4)) + of_bias(j) for j in range(2)]
    found = [sum(share(i, j) / totals[j] * (1 + j) * z[j] for j in range(2)) for i in range(4)]
    return torch.tensor([found], dtype=X.dtype)


def c(i: int, j: int) -> float:
    return (X[0, i] * W[j, i]).item()


def w(i: int, j: int) -> float:
    return W[j, i].item()


def b(j: int) -> float:
    return B[j].item()


def _favoured(part: float, j: int) -> float:
    """What has the sign of the sum counts a quarter more."""
    return part * 1.25 if part * layer(X)[0, j].item() > 0 else part


LOW, HIGH = torch.tensor([-1.0, -2, -3, -4]), torch.tensor([4.0, 3, 2, 5])
DEFINITIONS: dict[str, tuple[Any, Contribution, Callable[[int], float]]] = {
    "epsilon": (rules.epsilon(1e-12), c, b),
    "epsilon without bias": (rules.epsilon(1e-12, bias=False), c, lambda j: 0),
    "gamma": (rules.gamma(0.25, 1e-12), lambda i, j: _favoured(c(i, j), j), lambda j: _favoured(b(j), j)),
    "z+": (rules.z_plus(1e-12), lambda i, j: max(c(i, j), 0), lambda j: max(b(j), 0)),
    "z+ without bias": (rules.z_plus(1e-12, bias=False), lambda i, j: max(c(i, j), 0), lambda j: 0),
    "flat": (rules.flat(1e-12), lambda i, j: 1, lambda j: 0),
    "w-square": (rules.w_square(1e-12), lambda i, j: w(i, j) ** 2, lambda j: 0),
    "box": (
        rules.box(-2, 3, 1e-12), lambda i, j: c(i, j) + 2 * max(w(i, j), 0) - 3 * min(w(i, j), 0), lambda j: 0
    ),
    "box of tensors": (
        rules.box(LOW, HIGH, 1e-12),
        lambda i, j: c(i, j) - LOW[i].item() * max(w(i, j), 0) - HIGH[i].item() * min(w(i, j), 0),
        lambda j: 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_rule_is_its_definition(name: str) -> None:
    rule, share, of_bias = DEFINITIONS[name]
    found = lrp(lambda x: score(layer(x)), X, rules={"linear": rule})
    torch.testing.assert_close(found, by_definition(share, of_bias), atol=1e-9, rtol=1e-9)


def test_alpha_beta_is_its_definition() -> None:
    plus = by_definition(lambda i, j: max(c(i, j), 0), lambda j: max(b(j), 0))
    minus = by_definition(lambda i, j: min(c(i, j), 0), lambda j: min(b(j), 0))
    found = lrp(lambda x: score(layer(x)), X, rules={F.linear: rules.alpha_beta(3.0, 2.0, 1e-12)})
    torch.testing.assert_close(found, 3 * plus - 2 * minus, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("rule", [rules.epsilon(), rules.gamma(), rules.z_plus(), rules.flat(), rules.w_square()])
def test_however_a_dense_layer_is_written(rule: Any) -> None:
    spellings: dict[str, Callable[[Tensor], Tensor]] = {
        "matmul": lambda x: x @ W.T + B,
        "matmul, the weights first": lambda x: (W @ x.T).T + B,
        "addmm": lambda x: torch.addmm(B, x, W.T),
        "by name": lambda x: F.linear(weight=W, bias=B, input=x),
        "convolution": lambda x: F.conv1d(x[:, :, None], W[:, :, None], B)[:, :, 0],
    }
    keys = ("linear", "matmul", "addmm", "conv1d")
    for name, spelt in spellings.items():
        bias = B if "matmul" not in name else None  # an addition of its own takes what a bias would
        true = lrp(lambda x, b=bias: score(F.linear(x, W, b)), X, rules={"linear": rule})
        found = lrp(
            lambda x, f=spelt, b=bias: score(f(x) - (B if b is None else 0)), X, rules=dict.fromkeys(keys, rule)
        )
        torch.testing.assert_close(found, true, atol=1e-9, rtol=1e-9, msg=name)


LIVE_BIASES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda x, b: F.linear(x, W, b),
    "addmm": lambda x, b: torch.addmm(b, x, W.T),
    "addmm, by name and scaled": lambda x, b: torch.addmm(mat2=W.T / 2, mat1=x, input=b * 4, beta=0.25, alpha=2),
    "baddbmm": lambda x, b: torch.baddbmm(b[:, None], x[:, None], W.T[None])[:, 0],
    "addmv": lambda x, b: torch.addmv(b[0], W, x[0])[None],
    "conv1d": lambda x, b: F.conv1d(x[:, :, None], W[:, :, None], b[0])[:, :, 0],
}


@pytest.mark.parametrize("name", LIVE_BIASES)
@pytest.mark.parametrize("rule", [rules.epsilon(1e-12), rules.z_plus(1e-12)])
def test_a_bias_that_the_model_computes_has_its_share_of_the_sum(name: str, rule: Any) -> None:
    """y_j = sum_i w_ij x_i + b_j with b = (5 x_3, 7 x_0): R_j is shared between the two, and by the rule within w x."""
    keys = ("linear", "addmm", "baddbmm", "addmv", "conv1d")
    found = lrp(
        lambda x: score(LIVE_BIASES[name](x, torch.stack([5 * x[:, 3], 7 * x[:, 0]], 1))),
        X,
        rules=dict.fromkeys(keys, rule),
    )
    true = lrp(lambda x: score(F.linear(x, W)), X, rules={"linear": rule})
    true += torch.tensor([[2 * 7 * 1.0, 0, 0, 5 * 3.0]], dtype=X.dtype)
    torch.testing.assert_close(found, true, atol=1e-9, rtol=1e-9)


def test_weights_that_the_model_computes_have_the_gradient() -> None:
    """y = sum_i u_i w_i for constants u and w = x^2: linear in w, whose relevance u_i x_i^2 is that of x."""
    u = torch.tensor([[2.0, -1.0, 1.0, 0.5]], dtype=X.dtype)
    found = lrp(lambda x: F.linear(u, (x * x)).T[:, 0], X)
    torch.testing.assert_close(found, u * X * X)


# ------------------------------------------------------------------ relevance of values that are zero


@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "deep_taylor", "epsilon_gamma_box"])
def test_zeros_get_relevance_and_it_is_conserved(composite: str) -> None:
    net = seeded(nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3, bias=False)))
    x = normal(3, 2, 4, 4)
    x[:, :, 1:3] = 0
    found = enodo.explain(net, x, "lrp", target=[2, 0, 2], composite=composite, box=(-4, 4))
    assert (found.tensor[:, :, 1:3] != 0).any(-1).all()
    if composite != "deep_taylor":  # whose z+ drops what speaks against a score
        assert (found.delta.abs() <= 1e-6 * found.scores.abs()).all()


def test_relevance_of_zeros_goes_through_all_that_moves_or_prepares_data() -> None:
    x = torch.tensor([[2.0, 0.0, 5.0, 0.0, 2.0, 1.0]], dtype=torch.float64)
    weights = normal(3, 3, 2)

    def model(x: Tensor) -> Tensor:
        x = ((x - 2) / 3).to(torch.float64)  # zero where x is 2
        pairs = torch.cat([x.reshape(-1, 2, 3).flip(2), x.new_zeros(len(x), 2, 1)], 2)
        buffer = torch.zeros(len(x), 3, 4, dtype=x.dtype)
        buffer[:, :2] = pairs
        return F.conv1d(buffer, weights).sum((1, 2))

    found = enodo.explain(model, x, "lrp", composite="epsilon_plus_flat")
    y = F.conv1d(F.pad(((x - 2) / 3).reshape(1, 2, 3).flip(2), (0, 1, 0, 1)), weights)
    first, second, third = y[0].sum(0) / 6  # for each of the six values that a place reads, also those put in
    expected = torch.stack([second + third, first + second, first])  # from right to left
    torch.testing.assert_close(found.tensor, expected.repeat(2)[None])


def test_a_value_on_two_ways_gets_both_shares() -> None:
    """Of a first layer and of a sum beside it, which gives nothing to zeros."""
    v = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    found = lrp(lambda x: score(layer(x)) + (x * v).sum(1), X, rules={FIRST: rules.flat()})
    torch.testing.assert_close(found, lrp(lambda x: score(layer(x)), X, rules={FIRST: rules.flat()}) + X * v)


def test_relevance_of_a_sum_that_cancels_is_nobodys() -> None:
    """Of 2 - 2 and 1 + 3 flat gives each half of the score: that of zero has no parts to go to in proportion."""
    x = torch.tensor([[2.0, 1.0, -2.0, 3.0]], dtype=X.dtype)
    found = lrp(lambda x: score(F.linear(x[:, :2] + x[:, 2:], W[:, :2])), x, rules={FIRST: rules.flat()})
    half = score(W[:, 1:2].T * 4) / 2
    torch.testing.assert_close(found, half * torch.tensor([[0, 0.25, 0, 0.75]]))


def test_at_layers_below_the_first_nothing_changes() -> None:
    net = seeded(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)))
    for wrt in ("0", "1", "2"):
        true = lrp(net, normal(3, 4), target=1, wrt=wrt)
        assert torch.equal(lrp(net, normal(3, 4), target=1, wrt=wrt, rules={FIRST: rules.flat()}), true)
    inner = lrp(net, normal(3, 4), target=1, wrt="0:in", rules={FIRST: rules.flat()})
    torch.testing.assert_close(inner, lrp(net, normal(3, 4), target=1, rules={FIRST: rules.flat()}))


def test_several_targets_and_rows_stay_apart() -> None:
    layers = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    net, x = seeded(nn.Sequential(*layers)), normal(3, 2, 4, 4)
    x[0] = 0
    whole = lrp(net, x, target="all", composite="epsilon_plus_flat")
    for t in range(3):
        for row in range(3):
            one = lrp(net, x[row : row + 1], target=t, composite="epsilon_plus_flat")
            torch.testing.assert_close(whole[t, row : row + 1], one)


def test_bad_boxes_and_rules_by_themselves_are_refused() -> None:
    net, x = seeded(nn.Sequential(nn.Linear(4, 3))), normal(2, 4)
    with pytest.raises(enodo.BadArgument, match=r"box.*\(low, high\)"):
        lrp(net, x, target=1, composite="epsilon_gamma_box")
    with pytest.raises(enodo.BadArgument, match="box that does not hold them"):
        lrp(net, x, target=1, composite="epsilon_gamma_box", box=(0, 1))
    with pytest.raises(enodo.BadArgument, match="Give it to the method lrp"):
        enodo.explain(net, x, "guided_backprop", target=1, rules={"linear": rules.flat()})
    with pytest.raises(enodo.BadArgument, match="a rule of weights for 'avg_pool1d'"):
        lrp(nn.AvgPool1d(2), x, target=1, rules={"avg_pool1d": rules.gamma()})
