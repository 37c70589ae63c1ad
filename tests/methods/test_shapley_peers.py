"""The same cases asked of shap and shapiq."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import enodo
from enodo import Absence
from tests.methods.games import ask, numbered, random_game, smooth_game
from tests.methods.test_shapley import close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    shap, shapiq = pytest.importorskip("shap"), pytest.importorskip("shapiq")  # which ask for Python 3.11

pytestmark = pytest.mark.filterwarnings("ignore")
N = 5
table, game = random_game(N)
model = smooth_game(N)
x, background = (torch.randn(k, N, generator=torch.Generator().manual_seed(k)).double() for k in (3, 4))


def score(rows: Any) -> Any:
    return model(torch.as_tensor(rows))[:, 1].numpy()


@pytest.mark.parametrize("index", ["SV", "BV", "SII"])
def test_values_and_interactions_of_a_random_game(index: str) -> None:
    computer = shapiq.ExactComputer(lambda z: table[numbered(torch.as_tensor(z).double()), 0].numpy(), n_players=N)
    order = 2 if index == "SII" else 1
    found = computer(index=index, order=order).get_n_order_values(order)
    if index == "SII":
        matrix = 2 * ask(game, N, "shapley_interactions").details["interactions"][0]
        close(torch.where(torch.eye(N).bool(), 0, matrix), torch.tensor(found), 1e-9)
    else:
        method = "exact_shapley" if index == "SV" else "banzhaf"
        close(ask(game, N, method).tensor[0], torch.tensor(found), 1e-9)


def test_exact_values_against_a_background() -> None:
    reference = shap.ExactExplainer(score, shap.maskers.Independent(background.numpy()))(x.numpy())
    found = enodo.explain(model, x, "exact_shapley", target=1, baseline=Absence.background(background))
    close(found.tensor, torch.tensor(reference.values), 1e-9)


def test_kernel_shap_against_a_background() -> None:
    reference = shap.KernelExplainer(score, background.numpy()).shap_values(x.numpy(), nsamples=1000, silent=True)
    found = enodo.explain(model, x, "kernel_shap", target=1, baseline=Absence.background(background))
    close(found.tensor, torch.tensor(np.asarray(reference)), 1e-6)


def test_owen_values_along_a_linkage() -> None:
    linkage = np.array([[0, 1, 1.0, 2], [2, 3, 2.0, 2], [5, 4, 3.0, 3], [7, 6, 4.0, 5]])
    masker = shap.maskers.Partition(background.numpy()[:1], clustering=linkage)
    reference = shap.PartitionExplainer(score, masker)(x.numpy(), max_evals=2000)
    found = enodo.explain(model, x, "owen", target=1, baseline=background[0], groups=linkage)
    close(found.tensor, torch.tensor(reference.values), 1e-6)
    assert found.stderr.max() == 0


def test_fewer_evaluations_for_the_same_error_than_shaps_kernel() -> None:
    n, wide = 12, smooth_game(12)
    exact = ask(wide, n, "exact_shapley", target=0).tensor
    found = ask(wide, n, "kernel_shap", rows=30, target=0, max_evaluations=150).tensor
    explainer = shap.KernelExplainer(lambda z: wide(torch.as_tensor(z))[:, 0].numpy(), np.zeros((1, n)))
    reference = torch.tensor(
        np.stack([explainer.shap_values(np.ones(n), nsamples=150, silent=True, l1_reg=0) for _ in range(30)])
    )
    assert (found - exact).square().mean() < 1.5 * (reference - exact).square().mean()
