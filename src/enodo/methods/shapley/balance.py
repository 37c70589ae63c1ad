"""Orders that make up for one another.

What a feature i adds in an order and in its reverse, on average, depends on which others stand on the same side of it.
With s_j = 1 for those that come after i and -1 for those before, it is an even function of s: a constant, products of
two, of four ... All products of two average to what they are over all orders where, of every three features, each
comes between the other two in a third of the orders. So orders are looked for of which two have as little in common as
can be, in the kernel of these products: the sum over i of (s s')^2 (Mitchell et al. 2022, arXiv:2104.12199, section 3,
draw orders apart in kernels of other kinds). The halves of a round are to have little in common in themselves first:
how far they differ then bounds the error of their mean, and what the balance is worth can be read off the scores.

The orders found are the same for everybody. Which feature takes which place in them is drawn, so that each is uniform.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enodo.core.streams import Streams

ROUND = 32  # orders that make up for one another; more are drawn in rounds
SWEEPS = 10
OWN = 2  # how much more what an order has in common with its own half of the round counts
BLOCK = 1 << 17  # numbers at work


def ranks(streams: Streams, units: int, n: int) -> Tensor:
    """When each of n features arrives in `units` orders, drawn for each row, (B, units, n)."""
    rounds = -(-units // ROUND)
    sizes = [(units + i) // rounds for i in range(rounds)]
    places = streams.orders(len(sizes), n)
    parts = [torch.from_numpy(_apart(size, n))[:, places[:, i]] for i, size in enumerate(sizes)]
    return torch.cat(parts).movedim(0, 1)


@lru_cache(maxsize=256)
def _apart(units: int, n: int) -> Any:
    """The ranks of n places in so many orders that have little in common, (units, n)."""
    draw = np.random.default_rng(0)
    # how far from the middle each arrives is spread evenly over the orders
    off = draw.random((units, n)).argsort(0) + draw.random((units, n))
    rank = np.where(draw.random((units, n)) < 0.5, off, -off).argsort(1).argsort(1)
    first, second = np.triu_indices(n, 1)
    most = min(len(first), BLOCK // n**2)
    if units == 1 or not most:
        return rank
    signs, half = _signs(rank), np.arange(units) < units // 2
    for _ in range(SWEEPS):
        before = rank.copy()
        for u in range(units):
            # the order as it is, and with two places exchanged
            some = draw.permutation(len(first))[:most]
            tried = np.repeat(rank[u : u + 1], most + 1, 0)
            at = np.arange(most)
            tried[at, first[some]], tried[at, second[some]] = rank[u, second[some]], rank[u, first[some]]
            found = _signs(tried)
            others = np.delete(signs, u, 0)
            common = found.swapaxes(0, 1) @ others.transpose(1, 2, 0)  # (n, most + 1, units - 1)
            counts = np.delete(np.where(half == half[u], OWN, 1), u).astype(common.dtype)
            best = (np.square(common) @ counts).sum(0).argmin()
            rank[u], signs[u] = tried[best], found[best]
        if (rank == before).all():
            break
    return rank


def _signs(rank: Any) -> Any:
    """(k, n, n): 1 where the second of two places comes after the first, -1 where it comes before."""
    at = rank.astype(np.float32)
    return np.sign(at[:, None] - at[:, :, None])
