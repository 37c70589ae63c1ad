"""Many points through a model, as many a pass as the budget allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch.futures import Future

from .budget import Budget, is_out_of_memory
from .log import Log
from .values import Values

Points = Callable[[int, int], Values]
Answer = TypeVar("Answer")
Run = Callable[[Values, int], Answer]
AHEAD = 32  # passes of a model that answers later which are sent before the first of them is waited for


@dataclass(frozen=True)
class Pending:
    """What `read` makes of an output that is still to come."""

    output: Future[Any]
    read: Callable[[Any], Any]


def read(output: Any, reader: Callable[[Any], Any]) -> Any:
    """What `reader` makes of an output, or a Pending for a Future of one."""
    return Pending(output, reader) if isinstance(output, Future) else reader(output)


def stream(
    budget: Budget, log: Log, rows: int, n: int, points: Points, run: Run[Answer], graph: bool = True
) -> Iterator[tuple[int, int, Answer]]:
    """(i, j, run(points from i to j, j - i)), from 0 to n in passes of even size, with or without a `graph`."""
    log.plan(n * rows)
    waiting: deque[tuple[int, int, Any]] = deque()
    done = 0
    while done < n:
        k = budget.points(rows, n - done, graph)
        for i, j, answer in _halving(budget, rows, done, points(done, done + k), run, graph):
            waiting.append((i, j, answer))
            yield from _read(waiting, AHEAD if isinstance(answer, Pending) else 1)
        done += k
    yield from _read(waiting, 1)


def _read(waiting: deque[tuple[int, int, Any]], most: int) -> Iterator[tuple[int, int, Any]]:
    """The first answers, so that fewer than `most` are waited for."""
    while len(waiting) >= most:
        i, j, answer = waiting.popleft()
        yield i, j, answer.read(answer.output.wait()) if isinstance(answer, Pending) else answer


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
