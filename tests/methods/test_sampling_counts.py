"""What `max_evaluations` counts, by counting the rows that a model is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import enodo
from enodo import Absence, Each
from tests.methods.games import smooth_game

N = 12
GROUPS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
OPTIONS: dict[str, dict[str, Any]] = {
    "kernel_shap": {},
    "banzhaf": {},
    "shapley_sampling": {},
    "owen": {"groups": GROUPS},
    "shapley_interactions": {},
    "lime": {},
    "rise": {},
    "sobol": {},
}
ENDS = 2  # all present, none present


class Counted:
    """The game of a small network, and how many rows it was asked for."""

    def __init__(self) -> None:
        self.score, self.rows = smooth_game(N), 0

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.score(x)


def spent(method: str, rows: int = 1, **options: Any) -> int:
    model, x = Counted(), torch.rand(rows, N, generator=torch.Generator().manual_seed(0)).double() + 0.5
    found = enodo.explain(model, x, method, **{"target": 1, **OPTIONS.get(method, {}), **options})
    assert found.rows == model.rows  # and the answer says so
    return model.rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("most", [30, 101, 500])
def test_no_more_evaluations_than_allowed_beside_all_present_and_none(method: str, most: int) -> None:
    alone = spent(method, max_evaluations=most)
    assert (most if method in ("kernel_shap", "banzhaf", "rise") else most / 3) <= alone + 1
    assert alone <= most + ENDS
    assert spent(method, rows=3, target=Each([0, 1]), max_evaluations=most) <= 3 * (most + ENDS)  # targets share them
    assert spent(method, tol=1e-9, max_evaluations=most) <= most + ENDS
    assert spent(method, tol=0.9, max_evaluations=most) <= alone


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shap", "banzhaf", "shapley_interactions"])
def test_all_coalitions_are_all_and_none_too(method: str) -> None:
    assert spent(method, max_evaluations=1 << N) == 1 << N
    assert spent(method, rows=2, target=Each([0, 1]), max_evaluations=(1 << N) + 100) == 2 << N


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling", "lime", "rise"])
def test_a_background_of_stand_ins_takes_a_row_for_each(method: str) -> None:
    given = {"max_evaluations": 100, "baseline": Absence.background(torch.randn(4, N).double())}
    if method == "rise":
        given["features"] = list(range(N))
    assert spent(method, **given) <= 4 * (100 + 1) + 1


def test_coalitions_that_come_twice_are_run_once() -> None:
    """Of 60 tosses of 4 coins no more than 16 differ."""
    model = Counted()
    some = (torch.rand(60, N, generator=torch.Generator().manual_seed(0)) < 0.5).long()
    some[:, 4:] = 1
    enodo.explain(model, torch.ones(1, N).double(), "lime", target=1, coalitions=some)
    assert model.rows <= 16 + 1
