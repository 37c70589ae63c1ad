"""Values by few pairs of orders: what they say about themselves."""

from __future__ import annotations

import pytest
import torch

from enodo.methods.shapley.sampling import half_width
from tests.methods.games import ask, smooth_game

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


def test_many_pairs_need_no_more_words() -> None:
    found = ask(smooth_game(N), N, "shapley_sampling", target=1, max_evaluations=20 * PAIR)
    assert not any("few samples" in note for note in found.notes)
    assert found.stderr.max() > 0


def test_what_is_known_exactly_needs_none_either() -> None:
    """Features that act in twos at most: each pair of orders has the values."""
    found = ask(lambda x: x[:, 0] * x[:, 1] + x.sum(1), N, "shapley_sampling", max_evaluations=2 * PAIR)
    torch.testing.assert_close(found.tensor[0, :3], torch.tensor([1.5, 1.5, 1.0], dtype=torch.float64))
    assert not found.notes
