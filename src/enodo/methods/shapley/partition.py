"""Owen values: Shapley values of features that come in groups, and groups of groups."""

from __future__ import annotations

from typing import Any

from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .every import check_evaluations, lifted, several
from .found import Found, answer, exactly
from .hierarchy import Bargain, Node
from .methods import EVALUATIONS, FIRST, units
from .permutations import Orders
from .sampling import sample


@method(
    "owen",
    title="Owen values (partition values)",
    paper="Owen 1977, doi:10.1007/978-3-642-45494-3_7; Winter 1989, doi:10.1007/BF01268152 (nested groups)",
    when="Features with a structure: words in sentences, pixels in regions, columns that belong together.",
    needs="score absence",
    wants=several,
    aliases=("partition",),
)
def owen(
    q: Question,
    *,
    features: Any = None,
    groups: Any = None,
    max_evaluations: int = EVALUATIONS,
    tol: float | None = None,
) -> Values:
    """What a feature adds on arrival, over the orders in which the features of a group arrive one after another.

    Of a group, and of the groups in it, either none or all are there when an outsider arrives; the values of the
    features sum to f(x) - f(x0), and those of a group to the Shapley value that it has as one player. Exact where the
    coalitions that count (2^siblings at each level) fit into `max_evaluations`, otherwise sampled orders as in
    `shapley_sampling`, with standard errors. `groups` is explained at `methods.shapley.hierarchy.Node.of`.
    """
    check_evaluations(max_evaluations, tol)

    def solve(q: Question, game: Game) -> Found:
        tree = Node.of(groups, game.n)
        bargains = [Bargain.at(path, game.n) for path in tree.paths()]
        if sum(b.count for b in bargains) > max_evaluations:
            orders = Orders(game, tree.levels(game.n))
            first = max(2, FIRST // orders.cost)
            return sample(q, features, orders, units(game.n, max_evaluations), tol, first)
        like = lifted(game.empty, 0)
        values = like.new_zeros(*like.shape, game.n)
        for bargain in bargains:
            values[..., [f for _, f in bargain.features]] = bargain.values(game)
        return exactly(values, tol)

    return answer(q, features, solve, complete=True)
