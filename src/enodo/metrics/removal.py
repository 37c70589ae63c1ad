"""Deletion and insertion: what the score does as features go, or come, in the order an attribution gives.

Deletion takes features away, the most supportive first; insertion starts with none of them and puts them back in that
order (Petsiuk et al. 2018, arXiv:1806.07421, section 4.1; Samek et al. 2017, doi:10.1109/TNNLS.2016.2599820). What
stands in for one that is away is the baseline. Neither area means anything alone, since an input with features missing
is one the model may never have met: so both stand beside those of random orders of the same features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from enodo.core import targets
from enodo.core.errors import BadType, NotFinite, refuse
from enodo.core.explain import answered, ask
from enodo.core.game import Game
from enodo.core.log import Log
from enodo.core.question import Question
from enodo.core.registry import Card
from enodo.core.result import Attribution
from enodo.core.values import Values

from .order import chances, places
from .parts import features_of, scores_of

STEPS, DRAWS = 20, 10
NEEDS = frozenset({"score", "absence"})


@dataclass(frozen=True)
class Curve:
    """Scores along the way, beside those of random orders.

    `fractions` (B, S + 1) is the share of the features gone (deletion) or put back (insertion), from 0 to 1; `scores`
    is (B, S + 1), or (T, B, S + 1) for several targets, and `control` the same with the draws leading,
    (D, ..., B, S + 1), at `control_fractions`.
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
    features: Any = None,
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
    baseline      what stands in for features that are away: see `enodo.core.absence.Absence`
    features      what goes together: see `enodo.core.features.Features`; pixels with their channels, in pictures
    steps         how many times features are taken; never more often than there are features
    draws         random orders, drawn for each row from its own stream
    absolute      order by size, for attributions without a sign
    probability   read class scores (B, C) as probabilities, by their softmax
    terms         `wrt`, `of`, `args`, `kwargs`, `batch_size` and `progress` as for `explain`

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
    log = Log(terms.pop("progress", False))
    q = ask(model, inputs, target=target, baseline=baseline, seed=seed, log=log, needs=NEEDS, **terms)
    q = as_probability(q) if probability else q
    many = _leads(q, attributions)

    def run(game: Game, found: list[Tensor]) -> Values:
        return _along(game, found, steps, draws, absolute)

    try:
        answers = _by_block(q, attributions, features, run)
    finally:
        log.close()
    gone, back, random, fractions = (torch.cat(ts, -2) for ts in zip(*(v.leaves for v in answers), strict=True))
    if not many:
        gone, back, random = gone.squeeze(1), back.squeeze(1), random.squeeze(1)
    turned = (random.flip(-1), (1 - fractions).flip(-1))  # a random order read backwards is a random order
    return [
        Curves(
            Curve("deletion", fractions, gone[m], random, fractions), Curve("insertion", fractions, back[m], *turned)
        )
        for m in range(len(attributions))
    ]


def by_feature(
    model: Callable[..., Any], inputs: Any, *attributions: Any, target: Any = None, features: Any = None, **terms: Any
) -> list[Tensor]:
    """What each attribution says about each feature, (B, n) or (T, B, n): its sum over it; terms as for `curves`.

    So attributions of one place can be compared that differ in shape, as a fine map and a coarse one do.
    """
    q = ask(model, inputs, target=target, needs=NEEDS, **terms)
    answers = _by_block(q, attributions, features, lambda game, found: Values(found))
    return [torch.cat(ts, -2) for ts in zip(*(v.leaves for v in answers), strict=True)]


def gap(
    model: Callable[..., Any], inputs: Any, *attributions: Any, target: Any = None, baseline: Any = None,
    features: Any = None, **terms: Any,
) -> list[Tensor]:  # fmt: skip
    """How far each attribution is from adding up to the change of the score, (B,) or (T, B), promised or not.

    sum over features - (f(x) - f(x0)), in units of the score; what stands in and what goes together as for `curves`.
    """
    q = ask(model, inputs, target=target, baseline=baseline, needs=NEEDS, **terms)

    def run(game: Game, found: list[Tensor]) -> Values:
        change = game.full.double() - game.empty.double()
        return Values((told.sum(-1).to(change) - change)[..., None] for told in found)

    answers = _by_block(q, attributions, features, run)
    return [torch.cat(ts, -2).squeeze(-1) for ts in zip(*(v.leaves for v in answers), strict=True)]


def _by_block(
    q: Question, attributions: Sequence[Any], features: Any, fn: Callable[[Game, list[Tensor]], Values]
) -> list[Values]:
    """`fn` of each block of rows: its game, and what each attribution says about the features."""
    if not attributions:
        refuse("attributions", "none", "at least one Attribution or tensor")
    many = _leads(q, attributions)

    def run(block: Question) -> Values:
        game = block.game(features_of(features, block))
        return fn(game, [scores_of(block, a, game.layout, many) for a in attributions])

    return [v for _, v in answered(q, Card("curves", run, needs=frozenset()), {})]


def _leads(q: Question, attributions: Sequence[Any]) -> int:
    """1 where the attributions lead with a dimension of targets, else 0."""
    several = isinstance(q.target, targets.Each) or (isinstance(q.target, str) and q.target == "all")
    for a in attributions:
        if isinstance(a, Attribution) and a.scores is not None and (a.scores.ndim > 1) != several:
            given = "an attribution of several targets" if a.scores.ndim > 1 else "an attribution of one target"
            refuse("target", f"{q.target!r} for {given}", "the target that the attribution explains")
    return int(several)


def _along(game: Game, found: list[Tensor], steps: int, draws: int, absolute: bool) -> Values:
    """Deletion and insertion (M, T, B, S + 1), random deletion (D, T, B, S + 1), the fractions (B, S + 1)."""
    q, n = game.q, game.n
    scores = torch.stack(found)  # (M, B, n) or (M, T, B, n)
    scores = scores if scores.ndim == 4 else scores[:, None]
    streams = q.streams
    order = places(scores.abs() if absolute else scores, streams)
    given, several = order.shape[:2]
    drawn = [chances(order[0, 0], streams).argsort(-1) for _ in range(draws)]
    order = torch.stack([*order.flatten(0, 1), *drawn]).cpu()  # (R, B, n)
    counts = torch.full((q.rows,), n) if game.counts is None else game.counts.cpu()
    if (counts == 0).any():
        refuse("features", "a row without any", "at least one feature of each row that may be taken away")
    order = _last(order, counts)
    last = min(steps, n)
    sizes = (torch.arange(last + 1) * counts[:, None] / last).round().long()  # (B, S + 1)
    way = _Way(order, sizes, given * several)
    seen = [s.reshape(j - i, -1, q.rows).cpu() for i, j, s in game.stream(way.n, way.present, empty=True)]
    if q.scores.numel() // q.rows != several:
        refuse("attribution", f"{several} targets", f"the {q.scores.numel() // q.rows} that are asked about")
    ends = [score.reshape(1, several, q.rows).cpu() for score in (game.full, game.empty)]
    between = torch.cat([ends[0][:0], *seen])
    if not (between.isfinite().all() and ends[1].isfinite().all()):
        instead = (
            "Give another baseline, or features that leave something: Features.tokens with None for special tokens."
        )
        found_one = "one with which the score is not finite once features are away"
        refuse("baseline", found_one, "one that leaves what the model can score", instead, NotFinite)
    gone, back, random = way.dealt(between, *ends)
    fractions = sizes.to(random.dtype) / counts[:, None]
    shape = (given, several, q.rows, last + 1)
    return Values([gone.reshape(shape), back.reshape(shape), random, fractions])


def _last(order: Tensor, counts: Tensor) -> Tensor:
    """The places with the features that a row does not have behind all others."""
    n = order.shape[-1]
    met = torch.arange(n) < counts[:, None]
    return order if met.all() else torch.where(met, order, order + n).argsort(-1).argsort(-1)


class _Way:
    """The coalitions between all features and none, on each way."""

    def __init__(self, order: Tensor, sizes: Tensor, given: int) -> None:
        self.order, self.sizes, self.given = order, sizes, given
        between = range(1, sizes.shape[1] - 1)
        ways = [(r, False) for r in range(len(order))] + [(r, True) for r in range(given)]
        plan = torch.tensor([(r, s, back) for r, back in ways for s in between], dtype=torch.long).reshape(-1, 3)
        self.which, self.step, self.back = plan[:, 0], plan[:, 1], plan[:, 2].bool()
        self.n, self.between = len(plan), len(between)

    def present(self, i: int, j: int) -> Tensor:
        """Which features are there at the points from i to j, (k, B, n)."""
        size = self.sizes[:, self.step[i:j]].T[..., None]
        gone = self.order[self.which[i:j]] < size
        return gone == self.back[i:j, None, None]

    def dealt(self, scores: Tensor, full: Tensor, empty: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (n, T, B) as deletion and insertion (R, B, S + 1) and random deletion (D, T, B, S + 1)."""
        count = len(self.order) + self.given
        ways = scores.reshape(count, self.between, *full.shape[1:])
        ends = [e.expand(count, *e.shape[1:])[:, None] for e in (full, empty)]
        forward = torch.cat([ends[0], ways, ends[1]], 1).movedim(1, -1)  # (ways, T, B, S + 1)
        backward = torch.cat([ends[1], ways, ends[0]], 1).movedim(1, -1)
        rows = torch.arange(self.given)
        own = rows % full.shape[1]
        gone, back = forward[rows, own], backward[len(self.order) + rows, own]
        return gone, back, forward[self.given : len(self.order)]


def as_probability(q: Question) -> Question:
    """The question with class scores (B, C) read as probabilities; those that are such already stay as they are."""
    if q.of.side != "output":
        refuse("probability", f"True for {q.of_name}", "the model's output as what is explained")
    model = q.call.model

    def shares(*args: Any, **kwargs: Any) -> Tensor:
        y = targets.tensor_of(model(*args, **kwargs))
        if y.ndim != 2 or y.shape[1] < 2:
            refuse("probability", f"True for an output of shape {tuple(y.shape)}", "class scores (B, C)")
        done = bool((y >= 0).all()) and bool(((y.sum(1) - 1).abs() < 1e-4).all())
        return y if done else y.softmax(1)

    for name in ("modules", "buffers"):  # what a pass in train mode asks of a model
        setattr(shares, name, getattr(model, name, tuple))
    return replace(q, call=replace(q.call, model=shares))


def _area(fractions: Tensor, scores: Tensor) -> Tensor:
    return torch.trapezoid(scores.double(), fractions.double(), dim=-1)
