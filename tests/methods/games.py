"""Games whose values are known, as models: v(S) is the score of a row of ones (present) and zeros (absent)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import enodo

Score = Callable[[Tensor], Tensor]


def numbered(x: Tensor) -> Tensor:
    """The number of a coalition, feature f being the bit 2^f."""
    return (x.round().long() << torch.arange(x.shape[-1])).sum(-1)


def random_game(n: int, scores: int = 1, seed: int = 0) -> tuple[Tensor, Score]:
    """Any numbers for v, (2^n, scores), and the model that looks them up."""
    table = torch.randn(2**n, scores, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return table, lambda x: table[numbered(x)]


def everyone(n: int, rows: int = 1) -> Tensor:
    return torch.ones(rows, n, dtype=torch.float64)


def ask(model: Score, n: int, method: str, rows: int = 1, **options: object) -> enodo.Attribution:
    """The method's answer to a game of n features against nobody."""
    return enodo.explain(model, everyone(n, rows), method, **options)


def gloves(x: Tensor) -> Tensor:
    """One left glove, two right ones; a pair is worth 1: 2/3, 1/6, 1/6."""
    return torch.minimum(x[:, 0], x[:, 1] + x[:, 2])


COSTS = torch.tensor([1.0, 4.0, 4.0, 9.0, 16.0], dtype=torch.float64)


def airport(x: Tensor) -> Tensor:
    """A runway as long as the largest plane needs."""
    return (x * COSTS).amax(1)


def airport_shares() -> Tensor:
    """Each stretch is shared by the planes that need it (Littlechild and Owen 1973)."""
    steps = COSTS.diff(prepend=COSTS.new_zeros(1))
    return (steps / torch.arange(len(COSTS), 0, -1)).cumsum(0)


def apex(x: Tensor) -> Tensor:
    """The first wins with any other, and all others win without it: (n - 2)/n, and 2/(n (n - 1)) for each other."""
    others = x[:, 1:].sum(1)
    return ((x[:, 0] > 0) & (others > 0) | (others == x.shape[1] - 1)).double()


def orders(tree: object) -> Iterator[tuple[int, ...]]:
    """The orders in which the features of a nested list can arrive when those of a group come one after another."""
    if isinstance(tree, int):
        yield (tree,)
        return
    for arranged in itertools.permutations(tree):  # type: ignore[call-overload]
        for parts in itertools.product(*(list(orders(child)) for child in arranged)):
            yield tuple(itertools.chain.from_iterable(parts))


def by_orders(table: Tensor, n: int, tree: object = None) -> Tensor:
    """What each feature adds on arrival, averaged over all orders, (scores, n)."""
    total, count = torch.zeros(table.shape[1], n, dtype=torch.float64), 0
    for order in orders(list(range(n)) if tree is None else tree):
        here = 0
        for f in order:
            total[:, f] += table[here | 1 << f] - table[here]
            here |= 1 << f
        count += 1
    return total / count


def others(n: int, *without: int) -> Iterator[tuple[int, int]]:
    """(number, size) of every coalition without some features."""
    rest = [f for f in range(n) if f not in without]
    for size in range(len(rest) + 1):
        for members in itertools.combinations(rest, size):
            yield sum(1 << f for f in members), size


def banzhaf_values(table: Tensor, n: int) -> Tensor:
    """(scores, n), by the definition."""
    gains = [[table[s | 1 << f] - table[s] for s, _ in others(n, f)] for f in range(n)]
    return torch.stack([torch.stack(g).mean(0) for g in gains], -1)


def interactions(table: Tensor, n: int) -> Tensor:
    """The Shapley interaction index of each pair, (scores, n, n), by the definition; the diagonal is zero."""
    found = torch.zeros(table.shape[1], n, n, dtype=torch.float64)
    for i, j in itertools.permutations(range(n), 2):
        a, b = 1 << i, 1 << j
        for s, size in others(n, i, j):
            weight = math.factorial(size) * math.factorial(n - size - 2) / math.factorial(n - 1)
            found[:, i, j] += weight * (table[s | a | b] - table[s | a] - table[s | b] + table[s])
    return found


def smooth_game(n: int, seed: int = 3) -> Score:
    """A score in which all features act together, as those of a small network do."""
    g = torch.Generator().manual_seed(seed)
    into, bias, out = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((n, 16), (16,), (16, 2)))
    return lambda x: torch.tanh(x @ into / n**0.5 * 2 + bias) @ out


def pairwise_game(n: int, seed: int = 4) -> Score:
    """A score in which features act alone and two together."""
    g = torch.Generator().manual_seed(seed)
    alone, together = torch.randn(n, generator=g).double(), torch.randn(n, n, generator=g).double()
    return lambda x: x @ alone + ((x @ together) * x).sum(1)
