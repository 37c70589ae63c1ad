"""Class activation maps without gradients: what a channel of a layer is worth is found out by forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.features import Features
from enodo.core.layout import numbered
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streaming import Points
from enodo.core.values import Values

from .ablation import losses
from .maps import Layout, layouts, maps, resized


def _summed(q: Question, weights: Sequence[Tensor], relu: bool, **layout: Any) -> Values:
    """The sum over channels of the values at `wrt`, each tensor's by its weights (..., B, C)."""
    waiting = iter(weights)

    def make(x: Tensor) -> Tensor:
        w = next(waiting).to(x.dtype)
        found = (w.reshape(*w.shape, *[1] * (x.ndim - 2)) * x).sum(1 - x.ndim, keepdim=True)
        return found.clamp(min=0) if relu else found

    return maps(q, make, **layout)


@method(
    "ablation_cam",
    title="Ablation-CAM",
    paper="Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360, equations 1 and 2",
    when="Where gradients saturate: what the score loses without each channel. A forward pass a channel.",
    claims="map size layer",
)
def ablation_cam(
    q: Question, *, channel: int | None = None, reshape: Any = None, upsample: Any = False, relu: bool = True
) -> Values:
    """The values of a layer summed over channels, each weighted by what the score loses when it is set to zero.

    w_c = f(x) - f(x without channel c), in units of the score times those of the values. (The paper divides by f(x),
    which scales the map of a row, and turns it over where the score is negative.) Options as in `grad_cam`.
    """
    x, found = q.x, _in_place(q, channel, reshape)
    counts = [t.shape[layout.channel] if t.ndim > 1 else 1 for t, layout in zip(x.leaves, found, strict=True)]
    masks, first = [], 0
    for t, layout, n in zip(x.leaves, found, counts, strict=True):
        numbers = first + torch.arange(n, device=t.device)
        masks.append((numbers.view(-1, *[1] * (-1 - layout.channel)) if t.ndim > 1 else numbers).expand(t[:1].shape))
        first += n
    game = q.game(Features("channels", lambda q: numbered(masks, q.rows)))
    weights = losses(game).split(counts, -1)
    return _summed(q, weights, relu, channel=channel, reshape=reshape, upsample=upsample)


def _in_place(q: Question, channel: int | None, reshape: Any) -> list[Layout]:
    """Layouts of which the channels can be set where they are."""
    found = layouts(q, channel, reshape)
    if any(layout.fn is not None for layout in found) and channel is None:
        return [Layout(layout.ndim, -1) for layout in found]
    return found


@method(
    "score_cam",
    title="Score-CAM",
    paper="Wang et al. 2020, arXiv:1910.01279, definition 4 and equation 8",
    when="As Ablation-CAM, asked the other way: what the score is where only a channel's places are shown.",
    needs="gradient score baseline",
    claims="map size layer",
)
def score_cam(
    q: Question,
    *,
    channel: int | None = None,
    reshape: Any = None,
    upsample: Any = False,
    relu: bool = True,
    softmax: bool = True,
) -> Values:
    """The values of a layer summed over channels, each weighted by the score of the inputs shown through it.

    A channel, brought to the size of the inputs and to the range [0, 1], shows inputs x0 + H_c (x - x0), where x0 is
    the baseline; w_c is the softmax over channels of their scores less that of the baseline, or with softmax=False that
    difference itself. The inputs are pictures, series or tokens, and the places of the layer lie like theirs. Other
    options as in `grad_cam`.
    """
    (x,), (layout,) = _single(q.x), layouts(q, channel, reshape)
    values = layout.open(x)
    where, x0, shown = q.at_entry, q.entry_x0, q.entry_x
    points = _through(values, layout, shown, x0, bool(q.entry.ids))
    base = q.baseline_scores
    found = [scores - base for _, _, s in where.values(values.shape[1], points) for scores in s]
    weights = torch.stack(found, -1)
    return _summed(
        q, [weights.softmax(-1) if softmax else weights], relu, channel=channel, reshape=reshape, upsample=upsample
    )


def _single(x: Values) -> tuple[Tensor, ...]:
    if len(x) != 1:
        refuse("wrt", f"{len(x)} tensors at once", "a layer with one tensor as value, for score_cam")
    return x.leaves


def _through(values: Tensor, layout: Layout, x: Values, x0: Values, words: bool) -> Points:
    """Inputs shown through channels i to j of values (B, C, *places), each as (j - i, B, ...)."""

    def one(start: Tensor, end: Tensor, i: int, j: int) -> Tensor:
        mask = values[:, i:j]
        if words or layout.in_a_row:  # tokens of the inputs, (B, T, D)
            if end.ndim < 3 or end.shape[1:2] != mask.shape[2:]:
                _refuse(values, end)
            mask = _stretched(mask).movedim(1, 0).unsqueeze(-1)  # (k, B, T, 1)
        else:
            if mask.ndim != end.ndim or mask.ndim < 3:
                _refuse(values, end)
            mask = _stretched(resized(mask, 1, end.shape[2:])).movedim(1, 0).unsqueeze(2)  # (k, B, 1, *size)
        return start + mask * (end - start)

    return lambda i, j: x0.map(lambda start, end: one(start, end, i, j), x)


def _refuse(values: Tensor, x: Tensor) -> None:
    given = f"a layer whose places are {tuple(values.shape[2:])} for inputs of shape {tuple(x.shape)}"
    refuse("wrt", given, "places that lie like those of the inputs", "Say how tokens lie: reshape=(h, w).")


def _stretched(t: Tensor) -> Tensor:
    """(B, C, *places), each channel brought to the range [0, 1]; zero where all places are alike."""
    dims = tuple(range(2, t.ndim))
    low, high = t.amin(dims, keepdim=True), t.amax(dims, keepdim=True)
    return (t - low) / torch.where(high > low, high - low, 1)
