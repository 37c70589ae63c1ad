"""Coalitions of sizes that have few are dealt from a shuffled deck: none comes twice before all have come."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from enodo.core.streams import Streams
from enodo.methods.shapley import laws, pairs
from tests.methods.games import ask, smooth_game

N = 12


def drawn(plan: pairs.Plan, count: int) -> pairs.Some:
    streams = Streams(0, [(row,) for row in range(3)])
    return plan.draw(streams, count - plan.whole.each)


@pytest.mark.parametrize(("n", "size"), [(5, 0), (5, 1), (7, 3), (6, 3), (2, 1)])
def test_every_coalition_of_a_size_and_of_half_one_of_each_pair(n: int, size: int) -> None:
    expected = [set(some) for some in combinations(range(n), size) if 2 * size != n or 0 in some]
    assert [set(z.nonzero().flatten().tolist()) for z in torch.from_numpy(pairs._of_size(n, size))] == expected


def test_no_coalition_of_a_deck_is_drawn_twice_before_all() -> None:
    plan = pairs.Plan.of(laws.SHAPLEY, N, 250)
    found = drawn(plan, 250)
    dealt = [size for size, deck in plan.decks.items() if deck is not None]
    assert dealt == [2, 3, 4]
    for row in torch.from_numpy(found.z):
        for size in dealt:
            some = row[row.sum(1) == size]
            assert len(some.unique(dim=0)) == len(some) > 50
    for size, chance in zip(found.size, found.chance, strict=True):
        assert set(chance[size == 2]) == {1 - (size == 2).sum() / 66}


def test_a_deck_that_is_dealt_again_meets_each_of_its_coalitions_as_often() -> None:
    found = drawn(pairs.Plan.of(laws.SHAPLEY, N, 250), 1012)  # 222 or 223 of each size
    for row in torch.from_numpy(found.z):
        assert set(row[row.sum(1) == 2].unique(dim=0, return_counts=True)[1].tolist()) == {3, 4}
    assert found.chance[found.size == 2].max() < 0.13


def test_intervals_hold_where_most_of_a_deck_is_dealt() -> None:
    model, rows = smooth_game(N), 200
    exact = ask(model, N, "exact_shapley", target=0).tensor
    found = ask(model, N, "kernel_shap", rows=rows, target=0, max_evaluations=1000)
    inside = ((found.tensor - exact).abs() <= 2 * found.stderr).double().mean()
    assert 0.93 <= inside <= 0.985
