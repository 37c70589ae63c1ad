"""The Shapley values of features, exact and sampled, and the Banzhaf values, as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .every import banzhaf_weights, check_evaluations, fits, need_all, several, shapley_weights, summed
from .found import Found, answer, exactly
from .laws import BANZHAF, SHAPLEY, Law
from .pairs import Pairs, Plan
from .permutations import Orders
from .sampling import Sampler, sample

EVALUATIONS = 1000
FIRST = 64  # evaluations before the first look at how well the answer is known


@method(
    "exact_shapley",
    title="Shapley values, exact",
    paper="Shapley 1953; Castro et al. 2009, doi:10.1016/j.cor.2008.04.004, equation 1",
    when="Few features, or groups of them: the one fair division of the score, to the last digit.",
    needs="score absence",
    wants=lambda n: 2**n,
    aliases=("shapley_values",),
)
def exact_shapley(q: Question, *, features: Any = None, max_evaluations: int = 2**16) -> Values:
    """What a feature adds to the score on arrival, averaged over every order in which the features can arrive.

    a_i = sum over S without i of |S|! (n - |S| - 1)! / n! (f(S + i) - f(S)); the values of the features sum to
    f(x) - f(x0), in units of the score. All of the 2^n coalitions are evaluated once, for all features together, and
    more than `max_evaluations` of them are refused. `details["features"]` has one value a feature, (B, n).

    >>> import torch, enodo
    >>> enodo.explain(lambda x: x[:, 0] * x[:, 1], torch.tensor([[3.0, 2.0, 1.0]]), "exact_shapley").tensor
    tensor([[3., 3., 0.]])
    """
    check_evaluations(max_evaluations)

    def solve(q: Question, game: Game) -> Found:
        need_all(game.n, max_evaluations, "kernel_shap, shapley_sampling")
        return Found(summed(game, shapley_weights(game.n)))

    return answer(q, features, solve, complete=True)


@method(
    "kernel_shap",
    title="KernelSHAP",
    paper="Lundberg and Lee 2017, arXiv:1705.07874, theorem 2; Covert and Lee 2021, arXiv:2012.01536, section 4",
    when="Shapley values of up to some hundred features of any model: the first choice, with the least error.",
    needs="score absence",
    wants=several,
)
def kernel_shap(
    q: Question, *, features: Any = None, max_evaluations: int = EVALUATIONS, tol: float | None = None
) -> Values:
    """Shapley values from a weighted regression over coalitions, with standard errors.

    Exact where all 2^n coalitions fit into `max_evaluations`, and for additive models from 2 n + 2 on; otherwise see
    `methods.shapley.pairs`. Coalitions come with their complements, and the values of the features sum to
    f(x) - f(x0), always. With `tol` a row stops once it is known that well (`methods.shapley.sampling.sample`). What
    `max_evaluations` counts is told at `methods.shapley.every.check_evaluations`.
    """
    check_evaluations(max_evaluations, tol)

    def solve(q: Question, game: Game) -> Found:
        n = game.n
        if fits(n, max_evaluations):
            return exactly(summed(game, shapley_weights(n)), tol)
        return regressed(q, features, game, SHAPLEY, max_evaluations, tol)

    return answer(q, features, solve, complete=True)


@method(
    "shapley_sampling",
    title="Shapley values by sampled orders",
    paper="Castro et al. 2009, doi:10.1016/j.cor.2008.04.004; Mitchell et al. 2022, arXiv:2104.12199, section 4",
    when="Shapley values with the plainest of standard errors. KernelSHAP needs half the evaluations or fewer.",
    needs="score absence",
    wants=several,
    aliases=("shapley_value_sampling",),
)
def shapley_sampling(
    q: Question,
    *,
    features: Any = None,
    max_evaluations: int = EVALUATIONS,
    permutations: int | None = None,
    tol: float | None = None,
) -> Values:
    """Shapley values as a mean over orders in which the features arrive, with standard errors.

    Exact where all coalitions can be had for the same price; otherwise see `methods.shapley.permutations`. An order and
    its reverse cost 2 (n - 1) evaluations. `permutations` asks for that many orders, whatever they cost (an odd one is
    made even).
    """
    check_evaluations(max_evaluations, tol)
    if permutations is not None and (isinstance(permutations, bool) or not isinstance(permutations, int)):
        refuse("permutations", permutations, "None or a whole number", kind=BadType)
    if permutations is not None and permutations < 1:
        refuse("permutations", permutations, "at least 1")

    def solve(q: Question, game: Game) -> Found:
        pair = 2 * max(game.n - 1, 1)
        most = max_evaluations if permutations is None else -(-permutations // 2) * pair
        if fits(game.n, most):
            return exactly(summed(game, shapley_weights(game.n)), tol)
        return sample(q, features, Orders(game), units(game.n, most), tol, max(2, FIRST // pair))

    return answer(q, features, solve, complete=True)


@method(
    "banzhaf",
    title="Banzhaf values",
    paper="Banzhaf 1965; Wang and Jia 2023, arXiv:2205.15466, section 4; Liu et al. 2024, arXiv:2410.08336, section 3",
    when="Like Shapley values where the order of features is what matters: steadier under noisy scores, no fixed sum.",
    needs="score absence",
    wants=several,
)
def banzhaf(
    q: Question, *, features: Any = None, max_evaluations: int = EVALUATIONS, tol: float | None = None
) -> Values:
    """What a feature adds to a coalition of others, averaged over all coalitions.

    a_i = sum over S without i of (f(S + i) - f(S)) / 2^(n - 1), in units of the score. Exact where all coalitions fit
    into `max_evaluations`, and for additive models from 2 n + 4 on; otherwise the additive model nearest to the scores
    of coalitions drawn evenly (`methods.shapley.pairs`), with standard errors.
    """
    check_evaluations(max_evaluations, tol)

    def solve(q: Question, game: Game) -> Found:
        n = game.n
        if fits(n, max_evaluations):
            return exactly(summed(game, banzhaf_weights(n)), tol)
        return regressed(q, features, game, BANZHAF, max_evaluations, tol)

    return answer(q, features, solve)


def regressed(
    q: Question,
    features: Any,
    game: Game,
    law: Law,
    max_evaluations: int,
    tol: float | None,
    make: Callable[[Pairs], Sampler] = lambda pairs: pairs,
) -> Found:
    """What pairs of coalitions say under a law; `make` puts another estimate around them."""
    most, first = max_evaluations // 2, max(2 * game.n, FIRST // 2)
    plan = Plan.of(law, game.n, most if tol is None else min(most, first))
    return sample(q, features, make(Pairs(game, law, plan)), most, tol, first)


def units(n: int, max_evaluations: int) -> int:
    """Pairs of orders of n features that so many evaluations buy; at least one."""
    pair = 2 * (n - 1)
    if max_evaluations < pair:
        remedy = "Group the features with features=, or ask for kernel_shap."
        given, wanted = f"{max_evaluations} for {n} features", f"at least {pair}, for one pair of orders"
        refuse("max_evaluations", given, wanted, remedy)
    return max_evaluations // pair
