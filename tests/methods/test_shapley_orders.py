"""Values by few pairs of orders: what they say about themselves."""

from __future__ import annotations

import pytest
import torch

import enodo
from enodo.methods.shapley.permutations import DOUBT
from enodo.methods.shapley.sampling import half_width
from tests.methods.games import Score, ask, random_game, smooth_game

N = 12
PAIR = 2 * (N - 1)


def test_half_of_an_interval_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 5, 10, 30):
        exact = max(2, stats.t.ppf(0.975, freedom))
        assert half_width(freedom) == pytest.approx(exact, rel=max(0.06 / freedom**4, 1e-4))
    assert half_width(float("inf")) == 2


@pytest.mark.parametrize("pairs", [2, 3, 4])
def test_the_interval_of_few_pairs_is_as_wide_as_it_is_said_to_be(pairs: int) -> None:
    exact = ask(smooth_game(N), N, "exact_shapley", target=1).tensor
    found = ask(smooth_game(N), N, "shapley_sampling", rows=300, target=1, max_evaluations=pairs * PAIR)
    off = (found.tensor - exact).abs()
    wide = half_width(pairs - 1)
    assert (off <= wide * found.stderr).double().mean() > 0.92
    assert (off <= 2 * found.stderr).double().mean() < 0.92  # which two standard errors are not
    assert f"a 95 % interval is {wide:.1f} of them to either side" in found.notes[-1]
    # and standard errors are not smaller than errors: the pairs of a round do not repeat one another
    assert found.stderr.square().mean() > 0.97 * off.square().mean()


def threes(n: int) -> Score:
    """Features that act in threes, which is what orders of a round make up for."""
    weights = torch.randn(n, n, n, generator=torch.Generator().manual_seed(0)).double()
    return lambda x: torch.einsum("ri,rj,rk,ijk->r", *[2 * x - 1] * 3, weights)


def both(n: int) -> Score:
    """Of the first features acting in threes, and of the others anything: the balance is worth nothing to these."""
    few, (_, other) = threes(2 * n // 3), random_game(n - 2 * n // 3)
    return lambda x: few(x[:, : 2 * n // 3]) / n + 1.5 * other(x[:, 2 * n // 3 :])[:, 0]


GAMES: dict[str, Score] = {
    "threes": threes(N),
    "network": lambda x: smooth_game(N)(x)[:, 1],
    "both": both(N),
    "anything": lambda x: ANYTHING(x)[:, 0],
}
ANYTHING = random_game(N)[1]


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("pairs", [11, 22, 64])
def test_the_halves_of_the_pairs_tell_what_their_balance_is_worth(game: str, pairs: int) -> None:
    """Read as if they were independent, the pairs of "threes" had intervals 1.6, 1.9 and 2 times as wide as needed."""
    exact = ask(GAMES[game], N, "exact_shapley").tensor
    found = ask(GAMES[game], N, "shapley_sampling", rows=250, permutations=2 * pairs, max_evaluations=2)
    off = (found.tensor - exact).abs()
    wide = half_width(min(pairs, N + DOUBT) - 1)
    inside = (off <= wide * found.stderr).double()
    assert inside.mean() >= 0.93
    assert inside.mean(0).min() >= 0.9  # of each feature
    assert found.stderr.square().mean().sqrt() < (1.7 if pairs == 64 else 1.9) * off.square().mean().sqrt()


@pytest.mark.parametrize("tol", [0.2, 0.1])
def test_intervals_hold_where_a_tolerance_stops(tol: float) -> None:
    """Several rows, which stop at different numbers of pairs, and targets."""
    model = smooth_game(N)
    exact = ask(model, N, "exact_shapley", target=enodo.Each([0, 1])).tensor
    given = {"target": enodo.Each([0, 1]), "max_evaluations": 4000, "tol": tol}
    found = ask(model, N, "shapley_sampling", rows=250, **given)
    assert found.error is not None
    assert (found.error <= tol).all()
    off = (found.tensor - exact).abs()
    inside = off <= found.error[..., None] * found.tensor.abs().amax(-1, keepdim=True)
    assert inside.double().mean() >= 0.95
    assert inside.all(-1).double().mean() >= 0.93


def test_many_pairs_need_no_more_words() -> None:
    found = ask(smooth_game(N), N, "shapley_sampling", target=1, max_evaluations=20 * PAIR)
    assert not any("few samples" in note for note in found.notes)
    assert found.stderr.max() > 0


def test_what_is_known_exactly_needs_none_either() -> None:
    """Features that act in twos at most: each pair of orders has the values."""
    found = ask(lambda x: x[:, 0] * x[:, 1] + x.sum(1), N, "shapley_sampling", max_evaluations=2 * PAIR)
    torch.testing.assert_close(found.tensor[0, :3], torch.tensor([1.5, 1.5, 1.0], dtype=torch.float64))
    assert not found.notes
