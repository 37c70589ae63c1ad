"""How much coalitions count by their size, and the columns of the regression under such a law (`.pairs`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from enodo.core.threads import cached_property

Array: TypeAlias = NDArray[Any]
RIDGE = 10.0  # how many pairs it takes to believe in as much bending as there is


def kernel_law(n: int) -> Array:
    """The Shapley kernel of pairs whose smaller coalition has 1 to n // 2 members."""
    s = np.arange(1.0, n // 2 + 1)
    return even_sizes(n) / (s * (n - s))


def even_law(n: int) -> Array:
    """The share of pairs whose smaller coalition has 0 to n // 2 members, among all."""
    # quotients of whole numbers, each of which may be too large for a float
    shares = [math.comb(n, s) / (2 ** (n - 1) * (1 + (2 * s == n))) for s in range(n // 2 + 1)]
    return np.array(shares)


def even_sizes(n: int) -> Array:
    """Each size from 1 to n - 1 as often as any other, which is how much leverage its coalitions have together."""
    sizes = np.arange(1, n // 2 + 1)
    return np.where(2 * sizes == n, 0.5, 1.0)


@dataclass(frozen=True)
class Law:
    """How much coalitions count, by the size of the smaller of a pair, from `least` to n // 2."""

    share: Callable[[int], Array]  # of each size in the mean that is minimised
    often: Callable[[int], Array]  # how often it is drawn, up to a factor
    least: int
    fixed: bool  # whether the sum of the values is held
    third: float  # what each of three features gets of a game d_i d_j d_k


class Columns:
    """The columns of the regression, games d_i and d_i (t^2 - bend) of n features, t being the mean of d."""

    def __init__(self, law: Law, n: int) -> None:
        self.law, self.n = law, n
        self.share = law.share(n) / law.share(n).sum()
        t = 2 * np.arange(n // 2 + 1) / n - 1  # by size
        self.square = t[law.least :] ** 2
        self.bend = float((self.share * self.square).sum())  # the mean of t^2
        self.scales = np.stack([t**0, t**2 - self.bend, law.fixed * t])  # by size: of d, of d as it bends; t in the sum

    @staticmethod
    @lru_cache(maxsize=4)
    def of(law: Law, n: int) -> Columns:
        """Those of a law, made once."""
        return Columns(law, n)

    @cached_property
    def values(self) -> Array:
        """What features get in these games, (2 n, n)."""
        n, third = self.n, self.law.third
        own = (n - 2) * (1 + third * (n - 3)) / n**2 - self.bend
        return np.concatenate([np.eye(n), own * np.eye(n) + (2 + 2 * third * (n - 2)) / n**2])

    @cached_property
    def sums(self) -> Array:
        """What all features get together, (2 n, 1)."""
        sums: Array = self.values.sum(-1, keepdims=True)
        return sums

    @cached_property
    def held(self) -> Array:
        """What is added to the sum of the equations of all pairs, (2 n, 2 n): the ridge, and a sum that is fixed.

        The ridge is as large as the mean square of a second column, less what of it is in a fixed sum.
        """
        bent, total = self.square - self.bend, self.law.fixed * (1 - self.bend)
        ridge = RIDGE * (self.share * (bent**2 + total * (total - 2 * bent) * self.square)).sum()
        sums = self.sums * self.law.fixed
        held: Array = sums @ sums.T + np.diag(np.repeat([0.0, ridge], self.n))
        return held


SHAPLEY = Law(kernel_law, even_sizes, least=1, fixed=True, third=1 / 3)
BANZHAF = Law(even_law, even_law, least=0, fixed=False, third=0.0)
