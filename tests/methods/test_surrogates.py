"""LIME against scikit-learn and its own definition, RISE, Sobol indices and interactions in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from torch import Tensor, nn

import enodo
from enodo import Absence, Features
from enodo.core.streams import Streams
from enodo.core.values import Values
from enodo.methods.masking.seen import Grid
from enodo.methods.surrogate.linear import Fit, Moments, lasso, ridge
from tests.methods.games import ask, everyone, interactions, random_game, smooth_game
from tests.methods.test_shapley import close, numbers


def samples(rows: int, k: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(k + n)
    z = (torch.rand(rows, k, n, generator=g) < 0.5).double()
    slopes = torch.randn(2, rows, n, generator=g).double() * (torch.rand(n, generator=g) < 0.5)
    y = torch.einsum("bkn,tbn->tbk", z, slopes) + torch.randn(2, rows, k, generator=g).double() / 3
    return z, y, torch.rand(rows, k, generator=g).double()


# ---------------------------------------------------------------- linear models
@pytest.mark.parametrize("penalty", [0.3, 0.03, 0.003, 0.0])
@pytest.mark.parametrize(("k", "n"), [(60, 10), (40, 30), (20, 40)])
def test_the_lasso_is_scikit_learns(k: int, n: int, penalty: float) -> None:
    if penalty == 0 and k < 2 * n:
        pytest.skip("of which there are many")
    z, y, w = samples(2, k, n)
    moments = Moments.of(z, y, w)
    slopes = lasso(moments, penalty)
    fit = Fit.of(moments, slopes, moments.intercept(slopes))
    for t, b in ((0, 0), (1, 0), (1, 1)):
        reference = Lasso(alpha=penalty or 1e-12, tol=1e-13, max_iter=200000)
        reference.fit(z[b].numpy(), y[t, b].numpy(), sample_weight=w[b].numpy())
        close(slopes[t, b], torch.tensor(reference.coef_), 1e-7)
        close(fit.intercept[t, b], torch.tensor(reference.intercept_), 1e-7)
        score = reference.score(z[b].numpy(), y[t, b].numpy(), sample_weight=w[b].numpy())
        close(fit.quality[t, b], torch.tensor(score, dtype=torch.float64), 1e-7)
    down = moments.along - torch.einsum("bij,tbj->tbi", moments.gram, slopes)
    assert (down.abs() <= penalty + 1e-9).all()  # the conditions for the optimum
    close(torch.where(slopes == 0, 0, down), torch.where(slopes == 0, 0, penalty * slopes.sign()), 1e-9)


def test_the_ridge_is_scikit_learns() -> None:
    z, y, w = samples(2, 40, 10)
    slopes = ridge(Moments.of(z, y, w), 0.2)
    reference = Ridge(alpha=0.2 * float(w[1].sum())).fit(z[1].numpy(), y[0, 1].numpy(), sample_weight=w[1].numpy())
    close(slopes[0, 1], torch.tensor(reference.coef_), 1e-9)


def test_a_constant_score_fits_and_has_no_slopes() -> None:
    z, _, w = samples(1, 20, 4)
    y = torch.full((1, 1, 20), 3.0).double()
    moments = Moments.of(z, y, w)
    fit = Fit.of(moments, lasso(moments, 0.01), moments.y)
    assert fit.slopes.abs().max() < 1e-12
    assert fit.quality == 1


# ---------------------------------------------------------------- LIME
def test_lime_is_the_weighted_regression_over_all_coalitions() -> None:
    n, model = 6, smooth_game(6)
    found = ask(model, n, "lime", rows=2, target="all", penalty=0.05, width=1.3)
    z = torch.tensor([[k >> f & 1 for f in range(n)] for k in range(2**n)]).double()
    w = torch.exp(-(n - z.sum(1)) / (2 * 1.3**2))
    reference = Lasso(alpha=0.05, tol=1e-13, max_iter=100000)
    reference.fit(z.numpy(), model(z)[:, 1].numpy(), sample_weight=w.numpy())
    close(found.tensor[1, 0], torch.tensor(reference.coef_), 1e-8)
    close(found.details["intercept"][1, 0], torch.tensor(reference.intercept_), 1e-8)
    score = reference.score(z.numpy(), model(z)[:, 1].numpy(), sample_weight=w.numpy())
    close(found.details["fit"][1, 0], torch.tensor(score, dtype=torch.float64), 1e-8)
    assert found.details["fit"].shape == (2, 2)
    assert found.stderr.max() == 0


@pytest.mark.parametrize("regressor", ["lasso", "ridge", "elastic net"])
def test_a_linear_model_is_found_through_samples(regressor: str) -> None:
    w = numbers(*np.linspace(-2, 2, 14))
    chosen = ElasticNet(alpha=1e-9, max_iter=100000, tol=1e-12) if regressor == "elastic net" else regressor
    found = ask(lambda x: x @ w + 1, 14, "lime", regressor=chosen, penalty=0.0, max_evaluations=300)
    close(found.tensor[0], w, 1e-5)
    close(found.details["intercept"], numbers(1), 1e-5)
    close(found.details["fit"], numbers(1), 1e-6)


def test_the_slopes_of_lime_are_as_sure_as_they_say() -> None:
    n, model = 9, smooth_game(9)
    exact = ask(model, n, "lime", target=1, penalty=0.0).tensor
    found = ask(model, n, "lime", rows=200, target=1, penalty=0.0, max_evaluations=200)
    inside = ((found.tensor - exact).abs() <= 2 * found.stderr).double().mean()
    assert 0.925 < inside < 0.985


def test_a_coalition_that_is_given_twice_is_evaluated_once() -> None:
    every = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
    twice = every[torch.arange(100) % 5]
    once, found = (ask(smooth_game(3), 3, "lime", rows=4, target=1, coalitions=z) for z in (every, twice))
    close(found.tensor, once.tensor, 1e-9)
    assert found.rows == once.rows


def test_neighbours_and_their_likeness_are_given() -> None:
    """A function sees the value, its neighbours and their coalitions; what it says is what counts."""
    x = numbers(1, 2, 3, 4)[None]
    coalitions = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
    seen: list[Any] = []

    def like(value: Tensor, near: Tensor, z: Tensor) -> Tensor:
        seen.append((value, near, z))
        return z.sum(1).double()

    given: dict[str, Any] = {"coalitions": coalitions, "similarity": like, "baseline": 0.5, "penalty": 0.0}
    found = enodo.explain(lambda x: x.square().sum(1), x, "lime", **given)
    value, near, z = seen[0]
    close(value, x)
    close(near, torch.where(coalitions.bool(), x, 0.5))
    assert torch.equal(z, coalitions.bool())
    close(found.tensor[0], (x.square() - 0.25)[0], 1e-9)
    drawn = enodo.explain(lambda x: x.square().sum(1), x, "lime", **given | {"coalitions": lambda value, n: coalitions})
    close(drawn.tensor, found.tensor)


# ---------------------------------------------------------------- interactions
@pytest.mark.parametrize("n", [2, 5])
def test_interactions_by_their_definition(n: int) -> None:
    table, model = random_game(n, 2)
    found = ask(model, n, "shapley_interactions", target="all")
    matrix = found.details["interactions"][:, 0]
    expected = interactions(table, n) / 2
    close(torch.where(torch.eye(n).bool(), 0, matrix), expected)
    close(matrix.sum(-1), found.tensor[:, 0])
    close(matrix.sum((-1, -2)), table[-1] - table[0])
    close(matrix, matrix.mT)


def test_sampled_interactions_are_as_sure_as_they_say() -> None:
    n, model = 9, smooth_game(9)
    exact = ask(model, n, "shapley_interactions", target=0).details["interactions"]
    found = ask(model, n, "shapley_interactions", rows=100, target=0, max_evaluations=300).details
    matrix, stderr = found["interactions"], found["interactions_stderr"]
    beside = ~torch.eye(n).bool()
    inside = ((matrix - exact).abs() <= 2 * stderr)[:, beside].double().mean()
    assert 0.92 < inside < 0.99
    close(matrix.sum(-1), found["features"], 1e-9)


def test_interactions_stop_when_the_matrix_is_known_as_well_as_asked() -> None:
    """A row that hardly bends stops before one that does, and each is what it is alone."""
    model, x = smooth_game(12), numbers(0.2, 1)[:, None] * everyone(12, 2)
    given: dict[str, Any] = {"target": 0, "tol": 0.2, "max_evaluations": 3000}
    found = enodo.explain(model, x, "shapley_interactions", **given)
    spread = torch.cat([found.stderr[:, None], found.details["interactions_stderr"]], 1).amax((1, 2))
    close(2 * spread / found.tensor.abs().amax(1), found.error)
    assert 0 < found.error.max() <= 0.2
    assert found.rows < 2 * 2000
    close(
        enodo.explain(model, x[:1], "shapley_interactions", **given).details["interactions"][0],
        found.details["interactions"][0],
        1e-9,
    )


def test_too_few_evaluations_for_interactions_are_named() -> None:
    with pytest.warns(enodo.SamplingWarning, match=r"the expected error of the interactions is \d+%"):
        ask(smooth_game(12), 12, "shapley_interactions", target=0, max_evaluations=80)


# ---------------------------------------------------------------- RISE and Sobol indices
def test_rise_of_a_linear_model() -> None:
    """The mean score where a feature is seen: its own part whole, that of the others by half."""
    w = numbers(1, 2, 3, -4, 0)
    found = ask(lambda x: x @ w, 5, "rise", rows=300, max_evaluations=200)
    expected = (w.sum() + w) / 2
    close(found.tensor.mean(0), expected, 0.05)
    inside = ((found.tensor - expected).abs() <= 2 * found.stderr).double().mean()
    assert 0.92 < inside < 0.98


def test_smooth_masks_are_half_open_everywhere() -> None:
    x = Values([torch.zeros(2, 3, 20, 31)])
    (masks,) = Grid(x, 4).masks(Streams(0, ((0,), (1,))), 600, 0.5).leaves
    assert masks.shape == (600, 2, 20, 31)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert (masks.mean((0, 1)) - 0.5).abs().max() < 0.06
    assert (masks[:, :, :, 1:] - masks[:, :, :, :-1]).abs().max() <= 1 / 7  # no edge in a mask


def test_rise_finds_the_corner_that_a_model_reads() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, :7, :7].mean((1, 2, 3))

    found = enodo.explain(Corner().eval(), torch.ones(1, 3, 28, 28), "rise", max_evaluations=400, cells=4)
    assert found.shape == (1, 3, 28, 28)
    close(found.tensor[:, :1].expand(-1, 3, -1, -1), found.tensor)
    row = found.tensor[0, 0]
    assert row[:7, :7].min() > row[14:, 14:].max() + 0.1


def test_sobol_indices_of_products_and_sums() -> None:
    """Of w m each feature has w^2 / sum w^2; of m_1 m_2 each has 3/7 alone and 4/7 in all."""
    w = numbers(1, 2, 3, 0)
    found = ask(lambda x: x @ w, 4, "sobol", rows=3, max_evaluations=6 * 256)
    close(found.tensor, (w**2 / (w**2).sum()).expand(3, 4), 0.03)
    close(found.details["first"], (w**2 / (w**2).sum()).expand(3, 4), 0.08)
    assert found.tensor[:, 3].abs().max() < 1e-12
    found = ask(lambda x: x[:, 0] * x[:, 1], 3, "sobol", rows=3, max_evaluations=5 * 512)
    close(found.tensor, numbers(4 / 7, 4 / 7, 0).expand(3, 3), 0.03)
    close(found.details["first"], numbers(3 / 7, 3 / 7, 0).expand(3, 3), 0.08)


@pytest.mark.parametrize("points", [2, 3, 7])
def test_sobol_indices_of_few_points_are_not_far_too_large(points: int) -> None:
    """Of the product of six shares each has 1/4 / (1 - (3/4)^6) in all; a few points may see next to no variance."""
    found = ask(lambda x: x.prod(1), 6, "sobol", rows=400, max_evaluations=8 * points)
    close(found.tensor.mean(), torch.tensor(1 / 4 / (1 - (3 / 4) ** 6), dtype=torch.float64), 0.2)
    assert found.tensor.max() < 8


def test_a_constant_score_has_no_variance_to_share() -> None:
    found = ask(lambda x: 0 * x[:, 0] + 3, 3, "sobol", max_evaluations=50)
    assert (found.tensor == 0).all()
    assert (found.details["first"] == 0).all()


def test_indices_are_of_features_and_of_soft_masks_only() -> None:
    x = everyone(8, 2)
    found = enodo.explain(smooth_game(8), x, "sobol", target=0, features=Features.blocks(4), max_evaluations=300)
    assert found.details["features"].shape == (2, 4)
    with pytest.raises(enodo.BadArgument, match="baseline: got background of 2 rows"):
        enodo.explain(smooth_game(8), x, "sobol", target=0, baseline=Absence.background(x))
