"""Orders that make up for one another: each uniform, of every three features each as often in the middle."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from enodo.core.streams import Streams
from enodo.methods.shapley.balance import ROUND, ranks
from tests.methods.games import ask


def drawn(units: int, n: int, rows: int = 1, seed: int = 0) -> Tensor:
    """(rows, units, n)."""
    return ranks(Streams(seed, [(i,) for i in range(rows)]), units, n)


def middles(rank: Tensor) -> Tensor:
    """How often each of every three features is between the other two, (triples, 3), in orders (units, n)."""
    three = torch.tensor(list(itertools.combinations(range(rank.shape[1]), 3)))
    at = rank[:, three].argsort(-1)[..., 1]
    return torch.nn.functional.one_hot(at, 3).double().mean(0)


def test_each_of_three_is_once_in_the_middle() -> None:
    assert middles(drawn(3, 3)[0]).tolist() == [[1 / 3] * 3]


@pytest.mark.parametrize(("units", "n", "share"), [(22, 12, 0.5), (13, 20, 0.8), (8, 30, 0.9), (70, 9, 0.4)])
def test_middles_are_shared_more_evenly_than_by_chance(units: int, n: int, share: float) -> None:
    off = (middles(drawn(units, n)[0]) - 1 / 3).square().mean()
    assert off < share * 2 / 9 / units  # the variance of a third of so many draws


def test_orders_are_orders_and_each_is_uniform() -> None:
    rank = drawn(5, 4, 2400)
    assert (rank.sort(-1).values == torch.arange(4)).all()
    codes = (rank * torch.tensor([64, 16, 4, 1])).sum(-1)
    for unit in range(5):
        counts = codes[:, unit].unique(return_counts=True)[1]
        assert len(counts) == 24
        assert (counts - 100).square().sum() / 100 < 49.7  # chi-square of 23, once in 1,000


def test_rows_and_rounds_draw_for_themselves() -> None:
    rank = drawn(2 * ROUND + 1, 10, 3)
    assert rank.shape == (3, 2 * ROUND + 1, 10)
    assert (rank[0] != rank[1]).any()
    assert (rank[0, :ROUND] != rank[0, ROUND:-1]).any()
    assert (rank[1] == ranks(Streams(0, [(1,)]), 2 * ROUND + 1, 10)[0]).all()


@pytest.mark.parametrize(("units", "n"), [(1, 1), (3, 1), (4, 2), (1, 7), (2, 1500)])
def test_any_number_of_features_has_orders(units: int, n: int) -> None:
    assert (drawn(units, n).sort(-1).values == torch.arange(n)).all()


def test_features_that_act_in_threes_need_a_third_of_the_evaluations() -> None:
    """Beside pairs of orders that are drawn one by one."""
    n, units, rows = 12, 22, 100
    weights = torch.randn(n, n, n, generator=torch.Generator().manual_seed(0)).double()

    def model(x: Tensor) -> Tensor:
        d = 2 * x - 1
        return torch.einsum("ri,rj,rk,ijk->r", d, d, d, weights)

    exact = ask(model, n, "exact_shapley").tensor
    found = ask(model, n, "shapley_sampling", rows=rows, max_evaluations=units * 2 * (n - 1))
    single = ask(model, n, "shapley_sampling", rows=rows * units, max_evaluations=2 * (n - 1))
    by_chance = (single.tensor - exact).square().mean() / units
    assert (found.tensor - exact).square().mean() < by_chance / 3
