"""What the score loses when a feature is taken from another row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .shapley.sampling import state_errors


@method(
    "feature_permutation",
    title="Feature permutation",
    paper="Fisher et al. 2019, arXiv:1801.01489, section 3; Breiman 2001, doi:10.1023/A:1010933404324, section 10",
    when="Tables, any model: what the score loses when a feature's values are dealt anew among the rows of the batch.",
    needs="score",
    claims="batch",
    aliases=("permutation_importance",),
)
def feature_permutation(q: Question, *, features: Any = None, samples: int = 1) -> Values:
    """What the score of a row loses when a feature has the values of another row.

    a_i = f(x) - f(x with feature i as in row p(b)), for a permutation p of the batch drawn for each feature, any but
    the one that changes nothing; in units of the score. With several samples, their mean, with its standard error. The
    mean over the rows is the feature's permutation importance. Rows are given each other's values: an answer depends on
    the batch.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        refuse("samples", samples, "a whole number from 1", kind=BadType)
    if q.batch.rows < 2:
        instead = "Write feature_ablation with baseline=Absence.background(rows) for a single row."
        refuse("inputs", "1 row", "a batch of 2 rows or more, to be permuted", instead)
    game, pool = q.game(features), q.batch.values(q)
    own = torch.tensor([key[0] for key in q.keys])
    found = []
    for sample in range(samples):
        order = Orders(q.batch.rows, q.seed, sample)

        def others(i: int, j: int, order: Orders = order) -> Values:
            rows = order(i, j)[:, own]
            return pool.map(lambda t: t[rows.to(t.device)])

        parts = [game.full - scores for _, _, scores in game.without_each(others)]
        found.append(torch.cat(parts).movedim(0, -1))
    spread = torch.stack(found)
    state_errors(q, game.spread(spread.std(0, correction=min(samples - 1, 1)) / samples**0.5), samples)
    return game.spread(spread.mean(0))


class Orders:
    """A permutation of the rows for each feature, drawn in the order of the features."""

    def __init__(self, rows: int, seed: int, sample: int) -> None:
        self.rows, self.seed, self.sample, self.next = rows, seed, sample, 0
        self.generator = self._generator(0)

    def __call__(self, i: int, j: int) -> Tensor:
        """The permutations of features i to j, (j - i, rows), none of them the one that changes nothing."""
        if i < self.next:
            self.generator, self.next = self._generator(0), 0
        keys = torch.rand(j - self.next, self.rows, generator=self.generator, dtype=torch.float64)[i - self.next :]
        self.next = j
        order = keys.argsort(1)
        same = (order == torch.arange(self.rows)).all(1)
        for k in same.nonzero().flatten().tolist():
            generator = self._generator(1 + i + k)
            while (order[k] == torch.arange(self.rows)).all():
                order[k] = torch.randperm(self.rows, generator=generator)
        return order

    def _generator(self, number: int) -> torch.Generator:
        state = np.random.SeedSequence(self.seed, spawn_key=(self.sample, number)).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))
