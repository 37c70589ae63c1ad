"""`tol=`: points are added, row by row, until the attribution settles; what has not settled is said loudly."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo import BadArgument, SettlingWarning
from enodo.core import quadrature
from tests.methods.models import Mlp, Squares, brute_force, uniform

IG = "integrated_gradients"
CONTROLLED = {
    IG: {},
    "conductance": {"wrt": "act1"},
    "internal_influence": {"wrt": "act1"},
    "neuron_conductance": {"through": "act1", "neuron": 2},
}


def kinked(seed: int = 0) -> nn.Module:
    return Mlp(8, act=nn.ReLU, seed=seed)


def relative(got: Tensor, wanted: Tensor) -> Tensor:
    """The distance of each row, relative to its size in the L2 norm."""
    return (got - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)


@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_smooth_model_is_within_the_tolerance_of_a_thousand_nodes(tol, seed):
    model, x = Mlp(4, seed=seed), 3 * uniform(6, 4, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = enodo.explain(model, x, IG, target=1, tol=tol)
    assert relative(got.tensor, brute_force(lambda x: model(x)[:, 1], x)).max() <= tol
    assert got.error is not None
    assert got.error.shape == (6,)
    assert got.error.max() <= tol
    assert not got.notes


def test_a_smaller_tolerance_costs_more_rows():
    model, x = Mlp(4), 3 * uniform(6, 4)
    spent = [enodo.explain(model, x, IG, target=1, tol=tol).rows for tol in (1e-1, 1e-4, 1e-12)]
    assert spent[0] < spent[1] < spent[2]


def test_the_answer_of_each_level_is_that_of_its_rule():
    """Nothing is lost by adding nodes: a row that stops at 15 nodes has the answer of the 15-node rule."""
    x = uniform(3, 4) * 2
    got = enodo.explain(lambda x: x.exp().sum(1), x, IG, tol=1e-3)
    alphas, weights = quadrature.nested(4)
    wanted = x * sum(w * torch.exp(a * x) for a, w in zip(alphas.tolist(), weights.tolist(), strict=True))
    torch.testing.assert_close(got.tensor, wanted, atol=1e-14, rtol=1e-14)
    assert got.rows - 3 * 15 <= 2 * 3  # 15 gradient rows a row, beside the scores at both ends


def test_nodes_are_added_row_by_row():
    """One hard row among easy ones: only its own nodes are added."""
    x = torch.full((5, 1), 0.1, dtype=torch.float64)
    x[3] = 30.0
    got = enodo.explain(lambda x: torch.tanh(x[:, 0]), x, IG, tol=1e-9)
    easy, hard = 15, got.rows - 4 * 15 - 2 * 5
    assert 63 <= hard <= 255
    torch.testing.assert_close(got.tensor[:, 0], torch.tanh(x[:, 0]), atol=1e-9, rtol=0)
    alone = enodo.explain(lambda x: torch.tanh(x[:, 0]), x[:1], IG, tol=1e-9)
    assert alone.rows <= easy + 2


@pytest.mark.parametrize("name", CONTROLLED)
def test_batch_mates_do_not_change_when_a_row_settles(name):
    model, x = Mlp(4), torch.cat([0.2 * uniform(3, 4), 6 * uniform(3, 4, seed=1)])
    options = {"target": 1, "tol": 1e-2, **CONTROLLED[name]}
    together = enodo.explain(model, x, name, **options)
    for i in range(6):
        alone = enodo.explain(model, x[i : i + 1], name, **options)
        torch.testing.assert_close(together.tensor[i : i + 1], alone.tensor, atol=1e-13, rtol=0)
        torch.testing.assert_close(together.error[i : i + 1], alone.error, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", CONTROLLED)
def test_nor_does_the_size_of_passes(name):
    model, x = Mlp(4), 4 * uniform(5, 4)
    options = {"target": 1, "tol": 1e-2, **CONTROLLED[name]}
    whole = enodo.explain(model, x, name, batch_size=4096, **options)
    for batch_size in (1, 3, 7):
        cut = enodo.explain(model, x, name, batch_size=batch_size, **options)
        torch.testing.assert_close(cut.tensor, whole.tensor, atol=1e-12, rtol=0)
        torch.testing.assert_close(cut.error, whole.error, atol=1e-9, rtol=0)


def test_a_network_with_kinks_that_has_not_settled_says_so():
    """A warning, a note and the number reached; and the row count stays within max_steps."""
    model, x = kinked(), 3 * uniform(4, 8)
    with pytest.warns(SettlingWarning, match=r"not settled.* tol=1e-06"):
        got = enodo.explain(model, x, IG, target=0, tol=1e-6, max_steps=31)
    assert got.error is not None
    assert got.error.max() > 1e-6
    assert len(got.notes) == 1
    assert f"{got.error.max().item():.2g}" in got.notes[0]
    assert "31 steps" in got.notes[0]
    assert got.rows <= 4 * (31 + 2)


def test_only_rows_that_have_not_settled_report_more_than_the_tolerance():
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)  # the second row crosses the kink

    def score(v: Tensor) -> Tensor:
        return torch.relu(v[:, 0] * 0.4 + v[:, 1] + 0.1) + v[:, 0]

    with pytest.warns(SettlingWarning):
        got = enodo.explain(
            score, x, IG, baseline=torch.tensor([0.0, 0.5], dtype=torch.float64), tol=1e-6, max_steps=15
        )
    assert got.error is not None
    assert got.error[0] <= 1e-6 < got.error[1]


def test_the_error_is_of_the_attribution_and_not_the_completeness_gap():
    """Two kinks whose gaps cancel: the gap is 0 at every level while single values are far off."""

    def score(v: Tensor) -> Tensor:
        return torch.relu(v[:, 0] - 0.3) - torch.relu(v[:, 1] - 0.3)

    x = torch.ones(1, 2, dtype=torch.float64)
    with pytest.warns(SettlingWarning):
        got = enodo.explain(score, x, IG, tol=1e-9, max_steps=15)
    assert got.delta is not None
    assert got.error is not None
    assert got.delta.abs().item() < 1e-12
    assert got.error.item() > 1e-3


@pytest.mark.parametrize("name", CONTROLLED)
@pytest.mark.parametrize("tol", [0.02, 2e-4])
def test_every_path_method_has_it(name, tol):
    model, x = Mlp(4), 3 * uniform(4, 4)
    got = enodo.explain(model, x, name, target=1, tol=tol, **CONTROLLED[name])
    fine = enodo.explain(model, x, name, target=1, steps=400, quadrature="fejer", **CONTROLLED[name])
    assert got.error is not None
    assert 0 < got.error.max() <= tol
    assert relative(got.tensor, fine.tensor).max() <= tol


def test_saturation_saves_nodes_where_the_score_rises_steeply():
    """1 - exp(-80 alpha) from a zero baseline: crowding the nodes there settles with fewer."""
    x = torch.full((1, 1), 80.0, dtype=torch.float64)

    def score(v: Tensor) -> Tensor:
        return 1 - torch.exp(-v[:, 0])

    even = enodo.explain(score, x, IG, tol=1e-6)
    crowded = enodo.explain(score, x, IG, tol=1e-6, saturation=4.0)
    assert crowded.rows < even.rows
    for got in (even, crowded):
        assert got.tensor.item() == pytest.approx(1, abs=2e-6)


def test_several_targets_settle_each_for_itself():
    """A target's answer is the one it has alone, also where another target of the row goes on."""
    model, x = Mlp(4), 3 * uniform(4, 4)
    together = enodo.explain(model, x, IG, target="all", tol=1e-3)
    assert together.error is not None
    assert together.error.shape == (3, 4)
    for t in range(3):
        alone = enodo.explain(model, x, IG, target=t, tol=1e-3)
        torch.testing.assert_close(together.tensor[t], alone.tensor, atol=1e-13, rtol=0)
        torch.testing.assert_close(together.error[t], alone.error, atol=1e-10, rtol=0)


def test_several_neurons_settle_each_for_itself():
    model, x = Mlp(4), 3 * uniform(5, 4)
    given = {"through": "act1", "target": 1, "tol": 1e-4}
    every = enodo.explain(model, x, "neuron_conductance", **given)
    assert every.error is not None
    assert every.error.shape == every.tensor.shape[:2]
    for n in range(3):
        one = enodo.explain(model, x, "neuron_conductance", neuron=n, **given)
        torch.testing.assert_close(every[n], one.tensor)
        torch.testing.assert_close(every.error[n], one.error)


def test_where_nothing_changes_nothing_is_added():
    """An attribution of zero has settled: x = x0."""
    got = enodo.explain(Squares(), torch.zeros(2, 3, dtype=torch.float64), IG, tol=1e-6)
    assert torch.equal(got.error, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(got.tensor, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"tol": 0}, "tol"),
        ({"tol": -1e-3}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"tol": "0.01"}, "tol"),
        ({"tol": True}, "tol"),
        ({"tol": 0.01, "max_steps": 7}, "steps"),
        ({"tol": 0.01, "max_steps": 31.0}, "steps"),
        ({"steps": 0}, "steps"),
        ({"steps": -5}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"quadrature": "simpson"}, "quadrature"),
    ],
)
@pytest.mark.parametrize("name", CONTROLLED)
def test_bad_options_are_refused_by_name(name, options, argument):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(Mlp(4), uniform(2, 4), name, target=0, **options, **CONTROLLED[name])
    assert argument in caught.value.argument
