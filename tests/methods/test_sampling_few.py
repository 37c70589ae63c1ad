"""Regressions with about as many samples as unknowns: not far off, and never said to be sure."""

from __future__ import annotations

import pytest
import torch

import enodo
from enodo import SamplingWarning
from tests.methods.games import ask, smooth_game

N = 12


@pytest.mark.parametrize(
    ("method", "evaluations"),
    [("kernel_shap", 2 * N - 2), ("banzhaf", 2 * N), ("kernel_shap", N), ("banzhaf", N)],
)
def test_values_that_would_fit_every_pair_do_not_go_astray(method: str, evaluations: int) -> None:
    """As many equations as unknowns: fitted outright, values were off by many times their size, and said to be sure."""
    exact = ask(smooth_game(N), N, method, target=1, max_evaluations=1 << N).tensor
    with pytest.warns(SamplingWarning):
        found = ask(smooth_game(N), N, method, rows=300, target=1, max_evaluations=evaluations)
    assert found.stderr.shape == found.tensor.shape
    off = found.tensor - exact
    assert off.norm(dim=1).max() < 1.2 * exact.norm()
    assert (off.abs() <= 2 * found.stderr).double().mean() > 0.88


@pytest.mark.parametrize("method", ["kernel_shap", "banzhaf", "lime"])
def test_several_targets_of_few_samples_are_a_loop_over_them(method: str) -> None:
    with pytest.warns(SamplingWarning):
        both = ask(smooth_game(N), N, method, rows=3, target=enodo.Each([0, 1]), max_evaluations=N)
    for t, target in enumerate((0, 1)):
        with pytest.warns(SamplingWarning):
            one = ask(smooth_game(N), N, method, rows=3, target=target, max_evaluations=N)
        torch.testing.assert_close(both.tensor[t], one.tensor)
        torch.testing.assert_close(both.stderr[t], one.stderr)


@pytest.mark.parametrize("evaluations", [N // 2, N, N + 1])
def test_lime_of_no_more_samples_than_features_is_not_said_to_be_sure(evaluations: int) -> None:
    exact = ask(smooth_game(N), N, "lime", target=1, max_evaluations=1 << N).tensor
    with pytest.warns(SamplingWarning):
        found = ask(smooth_game(N), N, "lime", rows=300, target=1, max_evaluations=evaluations)
    assert ((found.tensor - exact).abs() <= 2 * found.stderr).double().mean() > 0.9
