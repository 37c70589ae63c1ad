"""Smoothing: any method, averaged over noisy copies of the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.core.registry import check_options, inside, method
from enodo.core.streams import deviations
from enodo.core.values import Values

from .gradient_shap import Moments
from .shapley.sampling import state_errors


def smoothed(
    q: Question,
    inner: Any,
    samples: int,
    noise: Any,
    relative: bool,
    options: Any,
    *,
    square: bool = False,
    tails: bool = False,
    draw_baseline: bool = False,
    sample_deltas: bool = False,
) -> Moments:
    """The moments of a method's answers (their squares) over `samples` noisy copies of the inputs.

    The standard error is that of what a reader is told, sums over the vectors of tokens, and is left in the memo.

    Each copy adds Gaussian noise whose standard deviation is `noise`, times the range (largest - smallest value) of
    each row of each input where `relative`; a sequence has one for each input tensor. Token ids get theirs on the
    vectors they look up. With `draw_baseline` the rows of `baseline` are a background, of which each copy of a row
    draws one. With `sample_deltas` the answer's `delta` has the completeness gap of each copy, (samples, B).
    """
    if isinstance(samples, bool) or not isinstance(samples, int):
        refuse("samples", samples, "a whole number", kind=BadType)
    if samples < 1:
        refuse("samples", samples, "at least 1")
    card, own = inside(inner)
    options = {**own, **options}
    check_options(card, options)
    if "score" not in card.needs:
        q.activation()  # makes the places known without asking for a score
    x = q.entry_x
    width = deviations(noise, x)
    if relative:
        ranges = x.map(_range)
        if any((t == 0).any() for t in ranges.leaves):
            q.log.note(
                "Relative noise is a share of the range of a row's values: a row whose values are all equal gets none."
            )
        width = width * ranges
    streams, moments, told, deltas, done = q.streams, Moments(tails=tails), Moments(), [], 0
    while done < samples:
        k = q.budget.points(q.rows, samples - done)
        noisy, picks = list[Values](), list[Tensor]()
        for _ in range(k):  # copy by copy, so that the draws do not depend on how many go together
            noisy.append(x + streams.normal(x) * width)
            picks += [streams.integers(q.entry_x0.leaves[0].shape[0])] if draw_baseline else []
        copies = q.at_copies(noisy, done, picks)
        answer = card.fn(copies, **options)
        if sample_deltas:
            deltas.append(_by_copy(_deltas(copies, answer), copies.scores.ndim - 1, k))
        lead = q.memo["lead"] = copies.lead_of(answer)
        answer = answer.map(_by_copy, lead, k)
        answer = answer * answer if square else answer
        moments.add(answer)
        told.add(q.told(answer, lead + 1))
        done += k
    state_errors(q, told.stderr, samples)
    if deltas:
        q.memo["delta"] = torch.cat(deltas).detach()
    return moments


def _deltas(q: Question, answer: Values) -> Tensor:
    """The completeness gap of each row, (B,) or (T, B)."""
    return answer.rowsum(q.scores) - (q.scores - q.baseline_scores)


def _by_copy(t: Tensor, lead: int, k: int) -> Tensor:
    """(..., k * B, ...) -> (k, ..., B, ...), `lead` dimensions standing before the rows."""
    return t.reshape(*t.shape[:lead], k, -1, *t.shape[lead + 1 :]).movedim(lead, 0)


def _range(t: Tensor) -> Tensor:
    flat = t.reshape(len(t), -1)
    return (flat.amax(1) - flat.amin(1)).view(-1, *[1] * (t.ndim - 1))


@method(
    "smoothgrad",
    title="SmoothGrad",
    paper="Smilkov et al. 2017, arXiv:1706.03825, section 2",
    when="Calms noisy gradient maps by averaging any method over noisy copies of the input.",
    needs="gradient score baseline",
)
def smoothgrad(
    q: Question,
    *,
    inner: Any = "gradient",
    samples: int = 20,
    noise: Any = 0.15,
    relative: bool = True,
    draw_baseline: bool = False,
    sample_deltas: bool = False,
    **options: Any,
) -> Values:
    """The mean of a method's attributions over noisy copies of the inputs, with its standard error.

    a = (1/n) sum_k method(x + e_k), e_k Gaussian; see `smoothed` for the noise. `inner` is any method, `options` its.
    """
    extra = {"draw_baseline": draw_baseline, "sample_deltas": sample_deltas}
    moments = smoothed(q, inner, samples, noise, relative, options, **extra)
    return moments.mean or q.x


@method(
    "smoothgrad_sq",
    title="SmoothGrad squared",
    paper="Hooker et al. 2019, arXiv:1806.10758, section 4",
    when="Like SmoothGrad where only the size of an attribution matters; sharper maps, no sign.",
    needs="gradient score baseline",
    claims="size",
    counts="({}) squared",
)
def smoothgrad_sq(
    q: Question,
    *,
    inner: Any = "gradient",
    samples: int = 20,
    noise: Any = 0.15,
    relative: bool = True,
    draw_baseline: bool = False,
    sample_deltas: bool = False,
    **options: Any,
) -> Values:
    """The mean of the squared attributions over noisy copies of the inputs: (1/n) sum_k method(x + e_k)^2."""
    extra = {"draw_baseline": draw_baseline, "sample_deltas": sample_deltas}
    moments = smoothed(q, inner, samples, noise, relative, options, square=True, **extra)
    return moments.mean or q.x


@method(
    "vargrad",
    title="VarGrad",
    paper="Adebayo et al. 2018, arXiv:1810.03307, section 3",
    when="Where an explanation is unstable: the variance of any method over noisy copies of the input.",
    needs="gradient score baseline",
    claims="size",
    counts="variance of ({})",
)
def vargrad(
    q: Question,
    *,
    inner: Any = "gradient",
    samples: int = 20,
    noise: Any = 0.15,
    relative: bool = True,
    draw_baseline: bool = False,
    sample_deltas: bool = False,
    **options: Any,
) -> Values:
    """The variance of a method's attributions over noisy copies of the inputs, E[a^2] - E[a]^2.

    Its standard error is sqrt((m4 - variance^2 (n - 3) / (n - 1)) / n) with the fourth central moment m4 of the n
    copies, but no less than that of a normal sample, variance * sqrt(2 / (n - 1)); of sums over tokens'
    vectors, at most.
    """
    extra = {"draw_baseline": draw_baseline, "sample_deltas": sample_deltas}
    moments = smoothed(q, inner, samples, noise, relative, options, tails=True, **extra)
    if samples > 1:
        q.memo["stderr"] = q.told(moments.unsure)
    return moments.variance
