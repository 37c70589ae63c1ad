"""Gradient SHAP, also known as expected gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streams import Streams, deviations
from enodo.core.values import Values

from .path import times
from .shapley.sampling import state_errors


@dataclass
class Moments:
    """Mean and variance of streamed values (k, ...), merged block by block (Chan et al. 1983).

    With `tails` also what the variance of the variance needs: third and fourth powers, about the first block's mean.
    """

    count: int = 0
    mean: Values | None = None
    squares: Values | None = None  # sum of squared deviations
    tails: bool = False
    powers: list[Values] = field(default_factory=list)  # the mean of the first block; sums of powers about it

    def add(self, block: Values) -> None:
        """Take in a block of values (k, ...)."""
        n = block.leaves[0].shape[0]
        mean = block.map(lambda t: t.mean(0))
        squares = block.map(lambda t, m: (t - m).square().sum(0), mean)
        if self.tails:
            about = self.powers[0] if self.powers else mean
            cubes, fourths = (block.map(partial(_power, e), about) for e in (3, 4))
            past = self.powers[1:] or [cubes * 0, fourths * 0]
            self.powers = [about, past[0] + cubes, past[1] + fourths]
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = n, mean, squares
            return
        total = self.count + n
        step = mean - self.mean
        self.squares = self.squares + squares + step * step * (self.count * n / total)
        self.mean = self.mean + step * (n / total)
        self.count = total

    @property
    def variance(self) -> Values:
        """The mean squared deviation."""
        return (self.squares or Values(())) / self.count

    @property
    def unsure(self) -> Values:
        """The standard error of the variance: of a normal sample at least, and as large as its tails make it."""
        n, part = self.count, [self.mean or Values(()), self.squares or Values(()), *self.powers]

        def one(mean: Tensor, squares: Tensor, about: Tensor, cubes: Tensor, fourths: Tensor) -> Tensor:
            d, second = mean - about, squares / n
            fourth = (fourths - 4 * d * cubes + 6 * d**2 * squares + 3 * n * d**4) / n
            tailed = (fourth - second**2 * (n - 3) / (n - 1)) / n
            return torch.maximum(tailed, second**2 * 2 / (n - 1)).sqrt()

        return part[0].map(one, *part[1:])

    @property
    def stderr(self) -> Values:
        """The standard error of the mean."""
        return (self.squares or Values(())).map(lambda s: (s / max(self.count - 1, 1) / self.count).sqrt().detach())


def _power(exponent: int, t: Tensor, about: Tensor) -> Tensor:
    return (t - about).pow(exponent).sum(0)


@dataclass
class Draws:
    """Points drawn for gradient SHAP, one sample at a time so that they do not depend on the cutting into passes."""

    x: Values
    background: Values
    noise: Values | None
    streams: Streams
    ends: list[tuple[Values, Values]] = field(default_factory=list)  # (start, end) of each block drawn, (k, B, ...)

    def __call__(self, i: int, j: int) -> Values:
        """The points of samples i to j."""
        samples = [self._one() for _ in range(i, j)]
        start, end, point = (_stacked(parts) for parts in zip(*samples, strict=True))
        self.ends.append((start, end))
        return point

    def _one(self) -> tuple[Values, Values, Values]:
        pick = self.streams.integers(self.background.leaves[0].shape[0])
        alpha = self.streams.uniform()
        start = self.background.map(lambda t: t[pick.to(t.device)])
        end = self.x + self.streams.normal(self.x) * self.noise if self.noise is not None else self.x
        point = start.map(lambda s, e: torch.lerp(s, e, alpha.to(s).view(-1, *[1] * (s.ndim - 1))), end)
        return start, end, point


def _stacked(parts: Sequence[Values]) -> Values:
    return parts[0].map(lambda *ts: torch.stack(ts), *parts[1:])


@method(
    "gradient_shap",
    title="Gradient SHAP (expected gradients)",
    paper="Erion et al. 2021, arXiv:1906.10670, equation 3; Lundberg and Lee 2017, arXiv:1705.07874",
    when="When no single baseline is right: compares with a background of examples, given as baseline.",
    needs="gradient score background",
    claims="completeness each",
    aliases=("expected_gradients",),
)
def gradient_shap(
    q: Question, *, samples: int = 50, noise: Any = 0.0, multiply: bool = True, sample_deltas: bool = False
) -> Values:
    """The expectation of integrated gradients over a background of baselines, by sampling baselines and path points.

    a = E[(x - b) * df(b + alpha (x - b)) / dx] over b from the background (the rows of `baseline`) and alpha uniform in
    [0, 1); the sum tends to f(x) - mean f(b), in units of the score, and the result has a standard error. `noise` is
    the standard deviation of Gaussian noise added to x at each sample (`core.streams.deviations`); multiply=False
    leaves out the factor (x - b). With sample_deltas, `delta` is that of each sample for itself, (samples, B).
    """
    if isinstance(samples, bool) or not isinstance(samples, int):
        refuse("samples", samples, "a whole number", kind=BadType)
    if samples < 1:
        refuse("samples", samples, "at least 1")
    draws = Draws(q.entry_x, q.entry_x0, deviations(noise, q.entry_x) if noise else None, q.streams)
    moments, told, deltas = Moments(), Moments(), []
    done = 0
    for i, j, (_, g) in q.seen(samples, draws):
        start, end = _slice(draws.ends, i - done, j - done)
        if j - done == draws.ends[0][0].leaves[0].shape[0]:
            draws.ends.clear()
            done = j
        part = g.map(times, _way(q, start, end)) if multiply else g
        moments.add(part)
        told.add(q.told(part))
        if sample_deltas:
            deltas.append(_deltas(q, part, start, end))
    state_errors(q, told.stderr, samples)
    if deltas:
        q.memo["delta"] = torch.cat(deltas).detach()
    return moments.mean if moments.mean is not None else q.x


def _deltas(q: Question, part: Values, start: Values, end: Values) -> Tensor:
    """The completeness gap of each sample, (k, B) or (k, T, B): its sum less the change of score on its path."""
    first, last = _scores(q, start), _scores(q, end)
    return part.rowsum(last) - (last - first)


def _scores(q: Question, points: Values) -> Tensor:
    """The scores with the inputs set to points (k, B, ...)."""
    found = q.at_entry.values(points.leaves[0].shape[0], lambda i, j: points.map(lambda t: t[i:j]))
    return torch.cat([y for _, _, y in found])


def _slice(ends: list[tuple[Values, Values]], i: int, j: int) -> tuple[Values, Values]:
    start, end = ends[0]
    return start.map(lambda t: t[i:j]), end.map(lambda t: t[i:j])


def _way(q: Question, start: Values, end: Values) -> Values:
    """The difference, at `wrt`, that going from start to end at the inputs makes; (k, B, ...)."""
    if q.wrt is q.entry:
        return end - start
    k = start.leaves[0].shape[0]
    both = start.map(lambda s, e: torch.cat([s, e]), end)
    seen = [v for _, _, v in q.observed(2 * k, lambda i, j: both.map(lambda t: t[i:j]))]
    whole = seen[0].map(lambda *ts: torch.cat(ts), *seen[1:])
    return whole.map(lambda t: t[k:] - t[:k])
