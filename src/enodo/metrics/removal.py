"""Deletion and insertion: what the score does as parts of the input go, or come, in the order an attribution gives.

Deletion takes the parts away, the most supportive first; insertion starts with none of them and puts them back in that
order (Petsiuk et al. 2018, arXiv:1806.07421, section 4.1; Samek et al. 2017, doi:10.1109/TNNLS.2016.2599820). What
stands in for a part that is away is the baseline. Neither area means anything alone, since an input with parts missing
is one the model may never have met: so both stand beside those of random orders of the same parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import targets
from enodo.core.errors import BadType, refuse
from enodo.core.explain import answered, ask
from enodo.core.log import Log
from enodo.core.question import Question
from enodo.core.registry import Card
from enodo.core.result import Attribution
from enodo.core.values import Values

from .order import chances, places
from .parts import Parts, parts_of, scores_of

STEPS, DRAWS = 20, 10


@dataclass(frozen=True)
class Curve:
    """Scores along the way, beside those of random orders.

    `fractions` (B, S + 1) is the share of the parts gone (deletion) or put back (insertion), from 0 to 1; `scores` is
    (B, S + 1), or (T, B, S + 1) for several targets, and `control` the same with the draws leading, (D, ..., B, S + 1),
    at `control_fractions`.
    """

    kind: str  # "deletion", where a small area speaks for the attribution, or "insertion", where a large one does
    fractions: Tensor
    scores: Tensor
    control: Tensor
    control_fractions: Tensor

    @property
    def area(self) -> Tensor:
        """The area under the curve, (B,) or (T, B): the mean score along the way, in units of the score."""
        return _area(self.fractions, self.scores)

    @property
    def control_area(self) -> Tensor:
        """The area of each random order, (D, B) or (D, T, B)."""
        return _area(self.control_fractions, self.control)

    @property
    def beaten(self) -> Tensor:
        """The share of the random orders that the attribution does better than, (B,) or (T, B); a tie counts half."""
        better = self.area - self.control_area if self.kind == "insertion" else self.control_area - self.area
        return ((better > 0) + 0.5 * (better == 0)).double().mean(0)


@dataclass(frozen=True)
class Curves:
    """The two curves of one attribution."""

    deletion: Curve
    insertion: Curve


def curves(
    model: Callable[..., Any],
    inputs: Any,
    *attributions: Any,
    target: Any = None,
    baseline: Any = None,
    groups: Any = None,
    steps: int = STEPS,
    draws: int = DRAWS,
    absolute: bool = False,
    probability: bool = False,
    seed: int = 0,
    **terms: Any,
) -> list[Curves]:
    """Deletion and insertion curves of each attribution, all against the same random orders.

    attributions  Attributions, or tensors in the structure of the values they are about; a map coarser than a picture
                  is enlarged
    baseline      what stands in for parts that are away, as for `explain`
    groups        what goes together; see `parts_of`
    steps         how many times parts are taken; never more often than there are parts
    draws         random orders, drawn for each row from its own stream
    absolute      order by size, for attributions without a sign
    probability   read class scores (B, C) as probabilities, by their softmax
    terms         `target`, `wrt`, `of`, `args`, `kwargs`, `batch_size` and `progress` as for `explain`

    A row costs 2 + (steps - 1) * (2 * attributions + draws) rows forwarded; all of them share passes.

    >>> import torch
    >>> from enodo.metrics import curves
    >>> x = torch.tensor([[4.0, 2.0, 1.0, 1.0]])
    >>> (found,) = curves(lambda x: x.sum(1), x, x, steps=4)  # the attribution of a sum is the input itself
    >>> found.deletion.scores.tolist(), found.insertion.scores.tolist()
    ([[8.0, 4.0, 2.0, 1.0, 0.0]], [[0.0, 4.0, 6.0, 7.0, 8.0]])
    """
    for name, value, least in (("steps", steps, 1), ("draws", draws, 1)):
        if isinstance(value, bool) or not isinstance(value, int):
            refuse(name, value, "a whole number", kind=BadType)
        if value < least:
            refuse(name, value, f"at least {least}")
    if not attributions:
        refuse("attributions", "none", "at least one Attribution or tensor")
    log = Log(terms.pop("progress", False))
    q = ask(model, inputs, target=target, baseline=baseline, seed=seed, log=log, **terms)
    many = _leads(q, attributions)
    try:
        answers = _by_block(
            q,
            attributions,
            groups,
            lambda block, parts, found: _along(block, parts, found, steps, draws, absolute, probability),
        )
    finally:
        log.close()
    gone, back, random, fractions = (torch.cat(ts, -2) for ts in zip(*(v.leaves for v in answers), strict=True))
    if not many:
        gone, back, random = gone.squeeze(1), back.squeeze(1), random.squeeze(1)
    turned = (random.flip(-1), (1 - fractions).flip(-1))  # a random order read backwards is a random order
    return [
        Curves(
            Curve("deletion", fractions, gone[m], random, fractions),
            Curve("insertion", fractions, back[m], *turned),
        )
        for m in range(len(attributions))
    ]


def by_part(
    model: Callable[..., Any], inputs: Any, *attributions: Any, target: Any = None, groups: Any = None, **terms: Any
) -> list[Tensor]:
    """What each attribution says about each part, (B, n) or (T, B, n): its sum over it; see `curves` for the terms.

    So attributions of one place can be compared that differ in shape, as a fine map and a coarse one do.
    """
    q = ask(model, inputs, target=target, **terms)
    answers = _by_block(q, attributions, groups, lambda block, parts, found: Values(found))
    return [torch.cat(ts, -2) for ts in zip(*(v.leaves for v in answers), strict=True)]


def _by_block(
    q: Question, attributions: Sequence[Any], groups: Any, fn: Callable[[Question, Parts, list[Tensor]], Values]
) -> list[Values]:
    """`fn` of each block of rows, its parts, and what each attribution says about them."""
    many = _leads(q, attributions)

    def run(block: Question) -> Values:
        rows = torch.tensor([key[0] for key in block.keys])
        parts = parts_of(block, groups, rows)
        return fn(block, parts, [scores_of(block, a, parts, many, rows) for a in attributions])

    return [v for _, v in answered(q, Card("curves", run, needs=frozenset()), {})]


def _leads(q: Question, attributions: Sequence[Any]) -> int:
    """1 where the attributions lead with a dimension of targets, else 0."""
    several = isinstance(q.target, targets.Each) or (isinstance(q.target, str) and q.target == "all")
    for a in attributions:
        if isinstance(a, Attribution) and a.scores is not None and (a.scores.ndim > 1) != several:
            given = "an attribution of several targets" if a.scores.ndim > 1 else "an attribution of one target"
            refuse("target", f"{q.target!r} for {given}", "the target that the attribution explains")
    return int(several)


def _along(
    q: Question, parts: Parts, found: list[Tensor], steps: int, draws: int, absolute: bool, probability: bool
) -> Values:
    """Deletion and insertion (M, T, B, S + 1), random deletion (D, T, B, S + 1), the fractions (B, S + 1)."""
    scores = torch.stack(found)  # (M, B, n) or (M, T, B, n)
    scores = scores if scores.ndim == 4 else scores[:, None]
    streams = q.streams
    order = places(scores.abs() if absolute else scores, streams)
    given, several = order.shape[:2]
    drawn = [chances(order[0, 0], streams).argsort(-1) for _ in range(draws)]
    order = torch.stack([*order.flatten(0, 1), *drawn]).cpu()  # (R, B, n)
    counts = parts.met.sum(1).cpu().expand(q.rows)
    if (counts == 0).any():
        refuse("groups", "a row with negative numbers only", "at least one part of each row that may be taken away")
    order = _last(order, parts.met.cpu())
    last = min(steps, parts.n)
    sizes = (torch.arange(last + 1) * counts[:, None] / last).round().long()  # (B, S + 1)
    way = _Way(order, sizes, given * several)
    if probability:
        q = replace(q, target=_as_probability(q), memo={"sight": q.sight, "x": q.x})
    x, x0 = q.x, q.x0

    def points(i: int, j: int) -> Values:
        there = parts.mask(way.present(i, j))
        return x.map(lambda t, t0, m: torch.where(m.to(t.device), t, t0), x0, there)

    seen = torch.cat([s.reshape(j - i, -1, q.rows) for i, j, s in q.values(way.n, points)])  # (n, T, B)
    if seen.shape[1] != several:
        refuse("attribution", f"{several} targets", f"the {seen.shape[1]} that are asked about")
    gone, back, random = way.dealt(seen.cpu(), several)
    fractions = sizes.to(seen.dtype).cpu() / counts[:, None]
    shape = (given, several, q.rows, last + 1)
    return Values([gone.reshape(shape), back.reshape(shape), random, fractions])


def _last(order: Tensor, met: Tensor) -> Tensor:
    """The places with the parts that a row does not have behind all others."""
    return order if met.all() else torch.where(met, order, order + met.shape[1]).argsort(-1).argsort(-1)


def _as_probability(q: Question) -> Callable[[Any], Tensor]:
    """The target of the softmax of the class scores; scores that are probabilities already are taken as they are."""
    pick, rows = targets.selector(q.settled_target, q.rows), q.rows

    def of(output: Any) -> Tensor:
        y = targets.tensor_of(output)
        if y.ndim != 2 or y.shape[1] < 2:
            refuse("probability", f"True for an output of shape {tuple(y.shape)}", "class scores (B, C)")
        done = bool((y >= 0).all()) and bool(((y.sum(1) - 1).abs() < 1e-4).all())
        found = pick(y if done else y.softmax(1), len(y) // rows)
        return found.T if found.ndim > 1 else found

    return of


class _Way:
    """The inputs to be scored: all parts there, none there, and what lies between on each way."""

    def __init__(self, order: Tensor, sizes: Tensor, given: int) -> None:
        self.order, self.sizes, self.given = order, sizes, given
        between = range(1, sizes.shape[1] - 1)
        ways = [(r, False) for r in range(len(order))] + [(r, True) for r in range(given)]
        plan = [(0, 0, False), (0, 0, True), *((r, s, back) for r, back in ways for s in between)]
        self.which, self.step, self.back = (torch.tensor(column) for column in zip(*plan, strict=True))
        self.n, self.between = len(plan), len(between)

    def present(self, i: int, j: int) -> Tensor:
        """Which parts are there at the points from i to j, (k, B, n)."""
        size = self.sizes[:, self.step[i:j]].T[..., None]
        gone = self.order[self.which[i:j]] < size
        return gone == self.back[i:j, None, None]

    def dealt(self, scores: Tensor, several: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (n, T, B) as deletion and insertion (R, B, S + 1) and random deletion (D, T, B, S + 1)."""
        full, empty = scores[:1], scores[1:2]
        count = len(self.order) + self.given
        ways = scores[2:].reshape(count, self.between, *scores.shape[1:])
        ends = [e.expand(count, *e.shape[1:])[:, None] for e in (full, empty)]
        forward = torch.cat([ends[0], ways, ends[1]], 1).movedim(1, -1)  # (ways, T, B, S + 1)
        backward = torch.cat([ends[1], ways, ends[0]], 1).movedim(1, -1)
        rows = torch.arange(self.given)
        own = rows % several
        gone = forward[rows, own]
        back = backward[len(self.order) + rows, own]
        return gone, back, forward[self.given : len(self.order)]


def _area(fractions: Tensor, scores: Tensor) -> Tensor:
    return torch.trapezoid(scores.double(), fractions.double(), dim=-1)
