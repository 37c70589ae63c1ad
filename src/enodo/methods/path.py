"""Integrals along the straight path from the baseline to the inputs: the mechanism, without any one method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from enodo.core import quadrature
from enodo.core.errors import BadType, SettlingWarning, about, refuse, warn
from enodo.core.question import Question
from enodo.core.streaming import Points
from enodo.core.values import Values, accumulator, along

MAX_STEPS = 255  # the largest nested rule
Parts = tuple[Values, ...]


def line(x0: Values, x: Values, alphas: Tensor) -> Points:
    """Points x0 + a (x - x0) for each a (n,), made as they are asked for."""

    def points(i: int, j: int) -> Values:
        def at(start: Tensor, end: Tensor) -> Tensor:
            return torch.lerp(start, end, alphas[i:j].to(end).view(-1, *[1] * end.ndim))  # exact at both ends

        return x0.map(at, x)

    return points


@lru_cache(maxsize=64)
def nodes(rule: str, steps: int, saturation: float = 0.0) -> tuple[Tensor, Tensor]:
    """Nodes and weights (n,) of a rule of `core.quadrature` on [0, 1], float64."""
    alphas, weights = quadrature.saturating(*quadrature.rule(rule, steps), saturation)
    return torch.tensor(alphas), torch.tensor(weights)


@lru_cache(maxsize=64)
def nodes_and_ends(
    rule: str, steps: int, saturation: float = 0.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """The nodes of a rule between 0 and 1, (n + 2,), and its weights, (n,), as values of this dtype take them."""
    alphas, weights = nodes(rule, steps, saturation)
    every = torch.cat([alphas.new_zeros(1), alphas, alphas.new_ones(1)])
    return every.to(dtype), weights.to(accumulator(dtype))


def check_steps(steps: Any, least: int = 1) -> None:
    """Refuse anything but a whole number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int):
        refuse("steps", steps, "a whole number", kind=BadType)
    if steps < least:
        refuse("steps", steps, f"at least {least}")


def check_tol(tol: Any) -> None:
    """Refuse anything but a positive number."""
    if isinstance(tol, bool) or not isinstance(tol, (int, float)) or not tol > 0:
        refuse("tol", tol, "a positive number, for example 0.01", kind=BadType)


def weighted_sum(stream: Any, weights: Tensor) -> Values:
    """The sum of streamed values (k, ...), each times its weight."""
    total: Values | None = None
    for i, j, g in stream:
        part = g.weighted(weights[i:j])
        total = part if total is None else total + part
    if total is None:
        refuse("steps", 0, "at least one step")
    return total


def times(g: Tensor, way: Tensor) -> Tensor:
    """Gradients (k, B, ...) or (k, T, B, ...) times values (k, B, ...)."""
    return g * (way if g.ndim == way.ndim else way.unsqueeze(1))


def neighbours(blocks: Iterable[tuple[int, int, tuple[Values, ...]]]) -> Iterator[tuple[int, Parts, Parts]]:
    """What is streamed along a path, as pairs of neighbouring points: (number of the first left one, lefts, rights)."""
    last: Parts = ()
    for i, j, parts in blocks:
        if last:
            yield i - 1, last, tuple(cut(p, 0, 1) for p in parts)
        if j - i > 1:
            yield i, tuple(cut(p, 0, -1) for p in parts), tuple(cut(p, 1, None) for p in parts)
        last = tuple(cut(p, -1, None) for p in parts)


def cut(v: Values, start: int, stop: int | None) -> Values:
    """Some of the points of values (k, ...)."""
    return v.map(lambda t: t[start:stop])


def kept(points: Points) -> tuple[Points, Points]:
    """Points that are kept while they are streamed, and what gives them again, block by block."""
    held: list[tuple[int, Values]] = []

    def make(i: int, j: int) -> Values:
        held[:] = [(i, points(i, j))]
        return held[0][1]

    return make, lambda i, j: cut(held[0][1], i - held[0][0], j - held[0][0])


Attempt = Callable[[Question, Tensor, int, list[Values]], tuple[Values, list[Values]]]


def settle(q: Question, tol: float, sizes: list[int], attempt: Attempt) -> Values:
    """Refine until a row's attribution changes by at most `tol` (relative, L2) from one size to the next.

    `attempt(question, rows, level, state)` answers for some rows with sizes[level] nodes; `state` is what it wants to
    keep of those rows for the next level. A row stops by itself, so its answer does not depend on its batch mates. The
    change that was reached becomes the answer's `error`; a warning says so where it is above `tol`. (The completeness
    gap is no such measure: it can be small while single values are far off.)
    """
    check_tol(tol)
    rows = torch.arange(q.rows)
    answer, state = attempt(q, rows, 0, [])
    lead = q.lead_of(answer) + 1  # dimensions up to the rows: of several targets, or neurons
    error = torch.full(answer.leaves[0].shape[:lead], float("inf"), dtype=torch.float64)
    for level in range(1, len(sizes)):
        part = q if len(rows) == q.rows else q.take(rows)
        new, state = attempt(part, rows, level, state)
        old = answer.map(_rows, rows, lead)
        change = (_norm(new - old, lead) / _norm(new, lead).clamp(min=torch.finfo(torch.float64).tiny)).cpu()
        open_ = error[..., rows] > tol  # a target that has settled keeps its answer while its row goes on for others
        merged = new.map(_chosen, old, open_)
        answer = answer.map(_put_rows, merged, rows, lead)
        error[..., rows] = torch.where(open_, change, error[..., rows])
        going = (error[..., rows] > tol).reshape(-1, len(rows)).any(0)
        if not going.any():
            break
        rows, state = rows[going], [s.map(_rows, going.nonzero().flatten(), lead) for s in state]
    q.memo["error"] = error.to(q.scores.dtype)
    worst = error.max().item()
    if worst > tol:
        text = (
            f"The attribution has not settled: it still changed by {worst:.2g} (relative) with {sizes[-1]} steps, "
            f"tol={tol:g} was asked for. Raise max_steps, or choose a baseline that the model handles better."
        )
        q.log.note(text)
        warn(text, SettlingWarning)
    return answer


def sizes_up_to(max_steps: int, first: int = 7) -> list[int]:
    """7, 15, 31 ... the sizes of nested rules, up to `max_steps`."""
    with about("max_steps"):
        check_steps(max_steps, 2 * first + 1)
    sizes = [first]
    while 2 * sizes[-1] + 1 <= max_steps:
        sizes.append(2 * sizes[-1] + 1)
    return sizes


def _rows(t: Tensor, rows: Tensor, lead: int) -> Tensor:
    return t.index_select(lead - 1, rows.to(t.device))


def _put_rows(t: Tensor, new: Tensor, rows: Tensor, lead: int) -> Tensor:
    return t.index_copy(lead - 1, rows.to(t.device), new)


def _chosen(new: Tensor, old: Tensor, open_: Tensor) -> Tensor:
    return torch.where(along(open_.to(new.device), new), new, old)


def _norm(v: Values, lead: int) -> Tensor:
    squares = [t.detach().to(torch.float64).reshape(*t.shape[:lead], -1).square().sum(-1) for t in v.leaves]
    return torch.stack(squares).sum(0).sqrt()
