"""Regressions with about as many samples as unknowns: not far off, and never said to be sure."""

from __future__ import annotations

import itertools

import pytest
import torch

import enodo
from enodo import SamplingWarning
from enodo.methods.shapley.sampling import half_width
from tests.methods.games import Score, ask, numbered, pairwise_game, random_game, smooth_game

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


def threes(x: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(N, N, N, generator=torch.Generator().manual_seed(0)).double()
    return torch.einsum("ri,rj,rk,ijk->r", *[2 * x - 1] * 3, weights) / N


def choices(x: torch.Tensor) -> torch.Tensor:
    """What few coalitions turn on: conjunctions and a disjunction."""
    return 2 * x[:, :3].prod(1) + x[:, 3:6].amax(1) + x[:, 6] * (1 - x[:, 7]) + 0.3 * x[:, :8].sum(1)


ANYTHING = random_game(N)[1]
GAMES: dict[str, Score] = {
    "network": lambda x: smooth_game(N)(x)[:, 1],
    "threes": threes,
    "choices": choices,
    "anything": lambda x: ANYTHING(x)[:, 0],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("method", ["kernel_shap", "banzhaf"])
def test_more_pairs_are_never_worse_and_intervals_hold(method: str, game: str) -> None:
    """Errors of n pairs were up to twice those of n - 1, and the stated ones twice as large again."""
    every = ((torch.arange(1 << N)[:, None] >> torch.arange(N)) & 1).double()
    table = GAMES[game](every)
    exact, errors = ask(lambda x: table[numbered(x)], N, method, max_evaluations=1 << N).tensor, list[float]()
    for pairs in (N - 1, N, N + 2, 16, 24, 36, 60):
        found = ask(lambda x: table[numbered(x)], N, method, rows=300, max_evaluations=2 * pairs)
        off = found.tensor - exact
        errors.append(float(off.square().mean().sqrt()))
        assert (off.abs() <= 2 * found.stderr).double().mean() >= 0.92
        assert found.stderr.square().mean().sqrt() < 1.8 * errors[-1]
    assert all(more < 1.03 * fewer for fewer, more in itertools.pairwise(errors))


@pytest.mark.parametrize(("method", "pairs"), [("kernel_shap", N + 1), ("banzhaf", N + 2), ("kernel_shap", 2 * N)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_additive_games_are_exact_from_where_a_fit_is_no_accident(method: str, pairs: int, dtype: torch.dtype) -> None:
    """Features that act in twos too: they are additive to pairs of complements. Rows are each their own sample."""
    model, x = pairwise_game(N), torch.ones(100, N, dtype=dtype)
    exact = enodo.explain(lambda x: model(x.double()).to(dtype), x[:1], method, max_evaluations=1 << N).tensor
    found = enodo.explain(lambda x: model(x.double()).to(dtype), x, method, max_evaluations=2 * pairs)
    off = (found.tensor - exact).norm(dim=1) / exact.norm()
    assert off.median() < (1e-3 if dtype == torch.float32 else 1e-9)
    unsure = 2 * found.stderr.norm(dim=1) + 1e-6 * exact.norm()
    assert ((found.tensor - exact).norm(dim=1) <= 2 * unsure).double().mean() > 0.98


@pytest.mark.parametrize(
    ("method", "options"),
    [("kernel_shap", {}), ("banzhaf", {}), ("lime", {"penalty": 0.1})],  # with less: the test below
)
def test_several_targets_of_few_samples_are_a_loop_over_them(method: str, options: dict[str, float]) -> None:
    with pytest.warns(SamplingWarning):
        both = ask(smooth_game(N), N, method, rows=3, target=enodo.Each([0, 1]), max_evaluations=N, **options)
    for t, target in enumerate((0, 1)):
        with pytest.warns(SamplingWarning):
            one = ask(smooth_game(N), N, method, rows=3, target=target, max_evaluations=N, **options)
        torch.testing.assert_close(both.tensor[t], one.tensor)
        torch.testing.assert_close(both.stderr[t], one.stderr)


def test_slopes_of_few_samples_are_one_optimum_of_several() -> None:
    """What a lasso fits, and the sum of its slopes' sizes, are the same of all its optima; its slopes need not be."""
    with pytest.warns(SamplingWarning):
        both = ask(smooth_game(N), N, "lime", rows=3, target=enodo.Each([0, 1]), max_evaluations=N)
    for t, target in enumerate((0, 1)):
        with pytest.warns(SamplingWarning):
            one = ask(smooth_game(N), N, "lime", rows=3, target=target, max_evaluations=N)
        torch.testing.assert_close(both.details["fit"][t], one.details["fit"])
        sizes, size = (slopes.abs().sum(1) for slopes in (both.details["features"][t], one.details["features"]))
        torch.testing.assert_close(sizes, size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("evaluations", [N // 2, N, N + 1, N + 2, N + 4, 2 * N])
@pytest.mark.parametrize("game", ["network", "threes", "anything"])
def test_lime_of_as_many_samples_as_features_knows_how_far_it_is_off(game: str, evaluations: int) -> None:
    """Without a penalty, of n + 1 samples 48 times in 100 in the interval; of n + 2 one six times as wide as errors."""
    given = {"penalty": 0.0, "max_evaluations": 1 << N}
    exact = ask(GAMES[game], N, "lime", **given).tensor
    found = ask(GAMES[game], N, "lime", rows=300, **given | {"max_evaluations": evaluations})
    off = (found.tensor - exact).abs()
    assert (off <= 2 * found.stderr).double().mean() > 0.93
    assert 0.9 < found.stderr.square().mean() / off.square().mean() < 1.6**2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("masks", [16, 48, 96])
@pytest.mark.parametrize("game", [*GAMES, "all at once"])
def test_rise_counts_what_few_masks_may_have_missed(game: str, masks: int) -> None:
    """Five features that count together only: 48 masks said that they were sure of nothing, 43 to 60 times in 100."""
    model = {**GAMES, "all at once": lambda x: x[:, :5].prod(1) + 0.01 * x.sum(1)}[game]
    every = ((torch.arange(1 << N)[:, None] >> torch.arange(N)) & 1).double()
    exact = (model(every)[:, None] * every).sum(0) / every.sum(0)
    found = ask(model, N, "rise", rows=300, max_evaluations=masks)
    inside = (found.tensor - exact).abs() <= half_width(masks / 2 - 1) * found.stderr
    assert inside.double().mean() >= 0.93
