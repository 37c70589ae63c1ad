"""Values of games that are known on paper, by brute force, and what sampling states about itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import enodo
from enodo import Absence, Each, SamplingWarning, SettlingWarning
from enodo.methods.shapley import laws
from enodo.methods.shapley.every import shapley_weights
from enodo.methods.shapley.laws import even_law, kernel_law
from enodo.methods.shapley.pairs import Pairs, Plan
from enodo.methods.shapley.permutations import DOUBT
from enodo.methods.shapley.sampling import half_width
from tests.methods.games import (
    airport,
    airport_shares,
    apex,
    ask,
    banzhaf_values,
    by_orders,
    everyone,
    gloves,
    pairwise_game,
    random_game,
    smooth_game,
)

SHAPLEY = ("exact_shapley", "kernel_shap", "shapley_sampling")
SAMPLED = ("kernel_shap", "shapley_sampling", "owen", "banzhaf")


def options(method: str, n: int = 9) -> dict[str, Any]:
    """A large group and one beside it: too many coalitions for the budgets here, where halves would be exact."""
    return {"groups": [0] * (n - 1) + [1]} if method == "owen" else {}


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: Any, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- games known on paper
@pytest.mark.parametrize("method", SHAPLEY)
def test_gloves(method: str) -> None:
    found = ask(gloves, 3, method)
    close(found.tensor[0], numbers(4, 1, 1) / 6)
    close(found.delta, numbers(0))


@pytest.mark.parametrize("method", SHAPLEY)
def test_the_runway_of_an_airport(method: str) -> None:
    close(ask(airport, 5, method).tensor[0], airport_shares())


@pytest.mark.parametrize("method", SHAPLEY)
@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_apex_game(method: str, n: int) -> None:
    close(ask(apex, n, method).tensor[0], numbers((n - 2) / n, *[2 / (n * (n - 1))] * (n - 1)))


def test_votes_by_majority() -> None:
    """51 of 49, 49 and 2 votes: any two of three parties win, so the smallest has as much power as the others."""
    votes = numbers(49, 49, 2)
    majority = lambda x: (x @ votes >= 51).double()  # noqa: E731
    close(ask(majority, 3, "exact_shapley").tensor[0], numbers(1, 1, 1) / 3)
    close(ask(majority, 3, "banzhaf").tensor[0], numbers(1, 1, 1) / 2)


@pytest.mark.parametrize("method", SHAPLEY)
def test_a_random_game_by_every_order(method: str) -> None:
    table, model = random_game(6, 3)
    close(ask(model, 6, method, rows=2, target="all").tensor, by_orders(table, 6)[:, None].expand(3, 2, 6))


def test_banzhaf_values_of_a_random_game_by_their_definition() -> None:
    table, model = random_game(6, 2)
    close(ask(model, 6, "banzhaf", target="all").tensor[:, 0], banzhaf_values(table, 6))


@pytest.mark.parametrize("method", [*SHAPLEY, "banzhaf", "owen"])
@pytest.mark.parametrize("evaluations", [1 << 10, 100])
def test_a_linear_model_against_a_background(method: str, evaluations: int) -> None:
    """w (x - mean b), exact also where coalitions are sampled."""
    if method == "exact_shapley" and evaluations < 1 << 10:
        pytest.skip("which evaluates all")
    x, rows, w = (torch.randn(s, 10, generator=torch.Generator().manual_seed(s)).double() for s in (3, 7, 1))
    given = {"baseline": Absence.background(rows), "max_evaluations": evaluations}
    found = enodo.explain(lambda x: x @ w[0], x, method, **given)
    close(found.tensor, w * (x - rows.mean(0)), 1e-9)


def test_the_expectation_over_a_background_by_brute_force() -> None:
    model = smooth_game(5)
    x, rows = (torch.randn(s, 5, generator=torch.Generator().manual_seed(s)).double() for s in (2, 4))
    found = enodo.explain(model, x, "exact_shapley", target=1, baseline=Absence.background(rows))
    z = torch.tensor([[k >> f & 1 for f in range(5)] for k in range(32)]).bool()
    mixed = torch.where(z[:, None, None], x[:, None], rows)  # (coalitions, rows, background, features)
    table = model(mixed.flatten(0, 2))[:, 1].view(32, 2, 4).mean(2)
    close(found.tensor, by_orders(table, 5))


# ---------------------------------------------------------------- regression over pairs of coalitions
def estimate(model: Any, n: int, law: laws.Law, count: int) -> tuple[Tensor, Tensor]:
    q = enodo.ask(model, everyone(n), target="all", needs=frozenset({"score", "absence"}))
    estimate = Pairs(q.game(), law, Plan.of(law, n, count))
    estimate.more(count)
    return estimate.answer()


@pytest.mark.parametrize("n", [2, 5, 6])
def test_the_regression_over_all_pairs_is_exact(n: int) -> None:
    table, model = random_game(n, 2)
    for law, expected in ((laws.SHAPLEY, by_orders(table, n)), (laws.BANZHAF, banzhaf_values(table, n))):
        values, stderr = estimate(model, n, law, 2 ** (n - 1))
        close(values[:, 0], expected)
        assert (stderr == 0).all()


def test_laws_of_size_count_every_coalition_once() -> None:
    """The kernel is the share of each size in the Shapley kernel; even coalitions are binomial."""
    close(torch.from_numpy(kernel_law(7) / kernel_law(7).sum()), numbers(1 / 6, 1 / 10, 1 / 12) / 0.35)
    close(torch.from_numpy(even_law(5)), numbers(1, 5, 10) / 16)
    close(torch.from_numpy(even_law(4)), numbers(1, 4, 3) / 8)
    close(shapley_weights(4), numbers(6, 2, 2, 6) / 24)


def test_the_smallest_coalitions_are_taken_whole_as_the_budget_allows() -> None:
    n = 12
    for count in (8, 30, 200, 2047):
        plan = Plan.of(laws.SHAPLEY, n, count)
        (whole,), (size,) = map(torch.from_numpy, plan.whole[:2])
        sizes = size.unique().tolist()
        assert sizes == list(range(1, len(sizes) + 1))
        assert whole.sum(1).equal(size)
        assert len(whole) == len(whole.unique(dim=0)) <= count
        assert sum(plan.weights[size]) + plan.weights @ plan.chances == pytest.approx(1)
        assert list(plan.decks) == list(range(len(sizes) + 1, n // 2 + 1))


@pytest.mark.parametrize("law", [laws.SHAPLEY, laws.BANZHAF])
@pytest.mark.parametrize("n", [4, 5, 7])
def test_columns_that_bend_are_games_whose_values_are_known(law: laws.Law, n: int) -> None:
    """d_i (t^2 - c) for each i as a game: its values by every coalition."""
    columns = laws.Columns.of(law, n)
    bent = lambda x: ((2 * x - 1).mean(1, keepdim=True).square() - columns.bend) * (2 * x - 1) / 2  # noqa: E731
    exact = ask(bent, n, "exact_shapley" if law.fixed else "banzhaf", target="all").tensor[:, 0]
    close(torch.from_numpy(columns.values[n:]), exact)


def test_what_bends_with_the_size_of_coalitions_is_learnt() -> None:
    """A score that saturates as more features come: where a plain regression is off, the second columns are not."""
    n, w = 12, torch.randn(12, generator=torch.Generator().manual_seed(0)).double()
    model = lambda x: (x @ w) * (x.mean(1) - 0.5).square()  # noqa: E731
    exact = ask(model, n, "exact_shapley").tensor
    found = ask(model, n, "kernel_shap", rows=50, max_evaluations=400)
    assert (found.tensor - exact).norm(dim=1).mean() < 0.02 * exact.norm()
    assert found.stderr.norm(dim=1).mean() < 0.03 * exact.norm()


@pytest.mark.parametrize("method", ["shapley_sampling", "owen"])
def test_orders_in_pairs_are_exact_for_features_that_act_in_twos(method: str) -> None:
    """Each pair of orders has every two features in both arrangements: no sample is off."""
    n, model = 9, pairwise_game(9)
    found = ask(model, n, method, rows=3, max_evaluations=64, **options(method))
    exact = "exact_shapley" if method == "shapley_sampling" else method
    close(found.tensor, ask(model, n, exact, rows=3, max_evaluations=1 << 12, **options(method)).tensor, 1e-9)
    assert found.stderr.max() < 1e-9


# ---------------------------------------------------------------- what sampling says about itself
@pytest.mark.parametrize("method", SAMPLED)
def test_the_stated_interval_holds_95_times_in_100(method: str) -> None:
    """200 seeds at once: rows that are equal, each with its own stream."""
    n, model = 9, smooth_game(9)
    exact = ask(model, n, method, target=1, max_evaluations=1 << 12, **options(method)).tensor
    found = ask(model, n, method, rows=200, target=1, max_evaluations=300, **options(method))
    assert found.stderr.amax(1).min() > 0
    assert (found.tensor[0] != found.tensor[1]).any()
    inside = ((found.tensor - exact).abs() <= 2 * found.stderr + 1e-14).double().mean()  # some are exact but rounded
    assert 0.925 < inside <= 1
    # and the errors are of the stated size, not far smaller
    assert (found.tensor - exact).square().mean().sqrt() > found.stderr.square().mean().sqrt() / 2


@pytest.mark.parametrize("method", SAMPLED)
def test_a_row_stops_when_it_is_known_as_well_as_asked(method: str) -> None:
    """Of rows that bend more and more, the first stops early; each gets what it gets alone, and so does each target."""
    model, x = smooth_game(12), numbers(0.2, 1, 3)[:, None] * everyone(12, 3)
    given: dict[str, Any] = {"tol": 0.06, "max_evaluations": 4000, **options(method, 12)}
    found = enodo.explain(model, x, method, target=Each([0, 1]), **given)
    assert found.error is not None
    assert found.error.max() <= 0.06
    most = 12 + DOUBT if method in ("shapley_sampling", "owen") else 0
    widths = [half_width(max(min(2**k, most), 1) - 1 or float("inf")) for k in range(1, 10)]
    stated = numbers(*widths)[:, None, None] * found.stderr.amax(-1) / found.tensor.abs().amax(-1)
    assert ((stated / found.error - 1).abs().amin(0) < 1e-9).all()  # of as many pairs of orders as that row took
    assert found.rows < 3 * 2500
    assert found.stderr[:, 0].max() > 0
    close(enodo.explain(model, x[:1], method, target=Each([0, 1]), **given).tensor, found.tensor[:, :1], 1e-9)
    close(enodo.explain(model, x, method, target=1, **given).tensor, found.tensor[1], 1e-9)


@pytest.mark.parametrize("method", SAMPLED)
def test_a_tolerance_out_of_reach_is_said(method: str) -> None:
    with pytest.warns(SettlingWarning, match=r"after \d+ evaluations, tol=1e-06 was asked for"):
        found = ask(smooth_game(9), 9, method, target=0, max_evaluations=200, tol=1e-6, **options(method))
    assert found.error is not None
    assert found.error.max() > 1e-6
    assert "is known to" in found.notes[0]


def test_a_budget_too_small_is_named_with_the_error_to_expect() -> None:
    """30 features of a linear model, as many evaluations as the other library spends unasked."""
    w = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    with pytest.warns(SamplingWarning, match=r"24 evaluations are few for 30 features: .* is \d+% \(relative, L2\)"):
        found = ask(lambda x: x @ w, 30, "kernel_shap", rows=50, max_evaluations=24)
    off = (found.tensor - w).norm() / w.norm() / 50**0.5
    expected = found.stderr.norm() / found.tensor.norm()
    assert 0.5 < off < 1
    assert 0.5 < expected / off < 2
    assert "features" in found.notes[0]


def test_enough_evaluations_are_no_matter_for_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    w = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    found = ask(lambda x: x @ w, 30, "kernel_shap", max_evaluations=62)
    close(found.tensor[0], w, 1e-9)
    assert not recwarn.list


def test_errors_at_equal_evaluations() -> None:
    """Orders in pairs need less than half of the evaluations of single ones; the regression needs fewer still."""
    n, model, rows = 9, smooth_game(9), 100
    exact = ask(model, n, "exact_shapley", target=0).tensor

    def off(method: str, evaluations: int) -> float:
        found = ask(model, n, method, rows=rows, target=0, max_evaluations=evaluations)
        return float((found.tensor - exact).square().mean())

    drawn = torch.rand(rows, 20, n, generator=torch.Generator().manual_seed(0)).argsort(-1)
    chains = torch.stack([(drawn < s) for s in range(n + 1)], 2).double()
    scores = model(chains.flatten(0, 2))[:, 0].view(rows, 20, n + 1)
    plain = scores.diff(dim=-1).gather(-1, drawn).mean(1)
    single = float((plain - exact).square().mean())  # 20 orders of 8 evaluations
    assert off("shapley_sampling", 160) < single / 2
    assert off("kernel_shap", 160) < off("shapley_sampling", 160) / 1.5


# ---------------------------------------------------------------- rows
@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling", "banzhaf"])
def test_rows_with_different_numbers_of_features_stand_alone(method: str) -> None:
    model, x = smooth_game(12), torch.randn(3, 12, generator=torch.Generator().manual_seed(1)).double()
    mask = torch.stack([torch.arange(12), torch.arange(12) // 3, torch.arange(12)])
    given: dict[str, Any] = {"target": 1, "max_evaluations": 400}
    found = enodo.explain(model, x, method, features=mask, **given)
    first, second = (enodo.explain(model, x[i : i + 1], method, features=mask[i : i + 1], **given) for i in (0, 1))
    close(first.tensor, found.tensor[:1], 1e-9)
    close(second.tensor, found.tensor[1:2], 1e-9)  # four features: exact, so that the stream does not count
    assert found.stderr[1].max() == 0
    close(second.details["features"], found.details["features"][1:2, :4], 1e-9)
    assert (found.details["features"][1, 4:] == 0).all()
    assert found.stderr[0].min() > 0
    limited = enodo.explain(model, x, method, features=mask, batch_size=2, **given)
    close(limited.tensor, found.tensor, 1e-9)
    close(limited.details["features"], found.details["features"], 1e-9)


def test_groups_share_and_the_values_of_features_add_up() -> None:
    model, x = smooth_game(6), torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).double()
    mask = torch.tensor([7, 7, 3, 9, 9, 9])
    found = enodo.explain(model, x, "exact_shapley", target=0, features=mask)
    close(found.tensor[:, 0], found.tensor[:, 1])
    assert found.details["features"].shape == (2, 3)
    close(found.details["features"].sum(1), (model(x) - model(0 * x))[:, 0])
    close(found.delta, numbers(0, 0))


@pytest.mark.parametrize("method", [*SAMPLED, "shapley_interactions"])
def test_what_is_exact_has_settled(method: str) -> None:
    found = ask(smooth_game(5), 5, method, target=0, tol=0.01)
    assert found.stderr.max() == found.error.max() == 0


def test_more_coalitions_than_allowed_are_refused_by_name() -> None:
    with pytest.raises(enodo.BadArgument, match=r"2\^17 coalitions.*at most 16 features.*kernel_shap"):
        ask(smooth_game(17), 17, "exact_shapley", target=0)
