"""Many points through a model, as many a pass as the budget allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from .budget import Budget, is_out_of_memory
from .log import Log
from .values import Values

Points = Callable[[int, int], Values]
Answer = TypeVar("Answer")
Run = Callable[[Values, int], Answer]


def stream(
    budget: Budget, log: Log, rows: int, n: int, points: Points, run: Run[Answer], graph: bool = True
) -> Iterator[tuple[int, int, Answer]]:
    """(i, j, run(points from i to j, j - i)), from 0 to n in passes of even size, with or without a `graph`."""
    log.plan(n * rows)
    done = 0
    while done < n:
        k = budget.points(rows, n - done, graph)
        yield from _halving(budget, rows, done, points(done, done + k), run, graph)
        done += k


def _halving(
    budget: Budget, rows: int, i: int, x: Values, run: Run[Answer], graph: bool
) -> Iterator[tuple[int, int, Answer]]:
    """Run k points as one pass; out of memory, or where the limit has fallen since, as two of half the size."""
    k = x.leaves[0].shape[0]
    if k == 1 or k * rows <= budget.most(graph):
        try:
            answer = run(x, k)
        except (RuntimeError, MemoryError) as error:
            if k == 1 or not is_out_of_memory(error):
                raise
            budget.halve(k * rows)
        else:
            yield i, i + k, answer
            return
    half = k // 2
    yield from _halving(budget, rows, i, x.map(lambda t: t[:half]), run, graph)
    yield from _halving(budget, rows, i + half, x.map(lambda t: t[half:]), run, graph)
