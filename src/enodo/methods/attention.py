"""Explanations by attention: which tokens, or patches, the model looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, describe, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, accumulator
from enodo.rules.attention import Attention, Attentions

from .maps import grid_of, layouts, resized, sized


def paid(q: Question, gradients: bool = False) -> list[Attention]:
    """The attention that the model pays to what follows from `wrt`, layer by layer; with `gradients` of the score."""
    mode = Attentions(q.rows, gradients, q.create_graph)
    if gradients:
        replace(q, rules=mode).gradient()
    else:
        q.traced(mode)
    if not mode.found:
        refuse("model", "one that pays no attention that can be seen after " + ", ".join(q.wrt.names), "attention")
    return mode.found


def fused(t: Tensor, heads: str | Sequence[int]) -> Tensor:
    """(..., H, Q, K) with one number for all heads: their mean, max or min, or the mean of some."""
    if heads in ("max", "min"):
        return t.amax(-3) if heads == "max" else t.amin(-3)
    if heads == "mean":
        return t.mean(-3)
    if not isinstance(heads, (list, tuple)) or not all(isinstance(h, int) for h in heads) or not heads:
        refuse("heads", heads, '"mean", "max", "min", or a list of numbers of heads')
    if not all(-t.shape[-3] <= h < t.shape[-3] for h in heads):
        refuse("heads", heads, f"numbers of heads from 0 to {t.shape[-3] - 1}")
    return t[..., list(heads), :, :].mean(-3)


def chosen(found: list[Attention], layers: Any) -> list[Attention]:
    """Some layers of attention, in their order; they have to be about the same tokens."""
    if layers is None or isinstance(layers, slice):
        found = found[layers or slice(None)]
    else:
        numbers = [layers] if isinstance(layers, int) and not isinstance(layers, bool) else layers
        if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, int) for n in numbers):
            refuse("layers", layers, "None for all, a number, a list of numbers or a slice", kind=BadType)
        if not all(-len(found) <= n < len(found) for n in numbers):
            refuse("layers", layers, f"numbers of layers from 0 to {len(found) - 1}")
        found = [found[n] for n in sorted(n % len(found) for n in numbers)]
    shapes = [tuple(a.probabilities.shape) for a in found]
    if not found:
        refuse("layers", describe(layers), "at least one layer")
    if any(len(s) != 4 for s in shapes):
        given = f"a model whose attention is within windows, (B, W, H, Q, K) = {next(s for s in shapes if len(s) != 4)}"
        refuse("model", given, "attention among all tokens", "Use grad_cam, or gradients.")
    if len({s[2:] for s in shapes}) > 1 or shapes[0][2] != shapes[0][3]:
        given = f"attention of (queries, keys) {sorted({s[2:] for s in shapes})}"
        refuse("layers", given, "layers of self-attention among the same tokens", "Name them: layers=[0, 1].")
    return found


def flow(steps: Sequence[Tensor]) -> Tensor:
    """The product of (..., T, T), the last layer's on the left."""
    total = steps[0]
    for step in steps[1:]:
        total = step @ total
    return total


def row_of(t: Tensor, token: Any, found: list[Attention]) -> Tensor:
    """The row of (..., B, T, T) that belongs to a token, (..., B, T): that from which the score is read.

    None is the last one where no token looks ahead, and else the first; an int, or one a row, is another; "mean" takes
    the mean of all.
    """
    count, rows = t.shape[-1], t.shape[-3]
    if isinstance(token, str) and token == "mean":
        return t.mean(-2)
    if token is None:
        ahead = torch.ones(count, count, dtype=torch.bool, device=t.device).triu(1)
        token = 0 if any((a.probabilities * ahead).any() for a in found) or count == 1 else -1
    index = torch.as_tensor(token, device=t.device) if isinstance(token, (int, list, tuple, Tensor)) else None
    if index is None or index.is_floating_point() or index.dtype == torch.bool or index.ndim > 1:
        refuse("token", token, 'None, a position, one position a row, or "mean"', kind=BadType)
    if index.numel() not in (1, rows) or not bool(((index >= -count) & (index < count)).all()):
        refuse("token", token, f"a position from 0 to {count - 1}, or one for each of the {rows} rows")
    index = (index % count).expand(rows).view(rows, 1, 1).expand(*t.shape[:-2], 1, count)
    return t.gather(-2, index)[..., 0, :]


def placed(q: Question, scores: Tensor, reshape: Any, upsample: Any) -> Values:
    """Scores of tokens (..., B, T) as values at `wrt`: at the tokens themselves, or at the pixels of their patches."""
    q.memo["lead"] = scores.ndim - 2
    places: list[Tensor | None] = [_placed(q, i, scores, reshape, upsample) for i in range(len(q.x))]
    first = next((i for i, p in enumerate(places) if p is not None), None)
    if first is None:
        shapes = ", ".join(str(tuple(t.shape)) for t in q.x.leaves)
        given = f"values of shape {shapes} for attention among {scores.shape[-1]} tokens"
        refuse("wrt", given, "token ids, images cut into patches, or a layer with a vector a token")
    made = []
    for i, (x, place) in enumerate(zip(q.x.leaves, places, strict=True)):
        if i == first and place is not None:
            made.append(place.to(x.dtype))
        else:  # of other inputs, attention says nothing
            made.append(x.new_zeros(*scores.shape[:-2], *x.shape))
    return Values(made)


def _placed(q: Question, i: int, scores: Tensor, reshape: Any, upsample: Any) -> Tensor | None:
    x = q.x.leaves[i]
    if x.ndim > 2 and x.shape[1] == scores.shape[-1] and (x.ndim == 3 or q.wrt.ids):
        if q.wrt.ids:
            return scores.view(*scores.shape, *[1] * (x.ndim - 2))
        layout = layouts(q, None, reshape)[i]
        opened = layout.open(scores.unsqueeze(-1))
        return layout.close(opened) if upsample is False else sized(q, opened, layout, upsample)
    if x.ndim > 3 and q.wrt.at_inputs:
        grid = grid_of(scores.shape[-1], x, reshape)
        tiles = scores[..., scores.shape[-1] - torch.Size(grid).numel() :].unflatten(-1, grid).unsqueeze(-1 - len(grid))
        size = x.shape[2:] if upsample in (True, False) else upsample
        return resized(tiles, scores.ndim - 1, size, None if upsample else "nearest-exact")
    return None


@method(
    "raw_attention",
    title="Raw attention",
    paper="Bahdanau et al. 2014, arXiv:1409.0473, equation 6",
    when="What one layer of a transformer looks at; says little about the score, being one step of many.",
    needs="gradient",
    claims="map",
)
def raw_attention(
    q: Question,
    *,
    layer: int = -1,
    heads: str | Sequence[int] = "mean",
    token: Any = None,
    reshape: Any = None,
    upsample: Any = False,
) -> Values:
    """The attention that a token pays to each token in one layer; over tokens it sums to one for the mean of heads.

    layer    the number of the layer, counted from `wrt`
    heads    "mean", "max" or "min" of the heads, or the numbers of some
    token    the position that looks, as in `row_of`
    reshape  how the tokens lie in a picture, and `upsample` its size, as in `maps.maps`
    """
    found = chosen(paid(q), layer)
    return placed(q, row_of(_exact(fused(found[0].probabilities, heads)), token, found), reshape, upsample)


@method(
    "attention_rollout",
    title="Attention rollout",
    paper="Abnar and Zuidema 2020, arXiv:2005.00928, equation 1",
    when="Where the information in a transformer's tokens comes from, through all layers; the same for every class.",
    needs="gradient",
    claims="map",
)
def attention_rollout(
    q: Question,
    *,
    heads: str | Sequence[int] = "mean",
    layers: Any = None,
    token: Any = None,
    discard: float = 0.0,
    reshape: Any = None,
    upsample: Any = False,
) -> Values:
    """The product over layers of attention, half of each being the residual path: shares of tokens that sum to one.

    R = A_L ... A_1 with A_l = (mean over heads + I) / 2, each row brought to the sum one; the row of `token` is the
    answer. `discard` leaves out that share of the smallest attentions of a layer, `layers` takes some only; other
    options as in `raw_attention`.
    """
    if isinstance(discard, bool) or not isinstance(discard, (int, float)) or not 0 <= discard < 1:
        refuse("discard", discard, "a share from 0 to below 1")
    found = chosen(paid(q), layers)
    steps = []
    for a in found:
        step = _exact(fused(a.probabilities, heads))
        count = int(discard * step[0].numel())
        if count:
            least = step.flatten(1).topk(count, 1, largest=False).indices
            step = step.flatten(1).scatter(1, least, 0).view(step.shape)
        step = step + torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
        steps.append(step / step.sum(-1, keepdim=True))
    return placed(q, row_of(flow(steps), token, found), reshape, upsample)


@method(
    "gradient_rollout",
    title="Gradient-weighted attention rollout",
    paper="Chefer et al. 2021, arXiv:2103.15679, equations 5 and 6",
    when="Which tokens or patches of a transformer speak for a class: attention, counted where it raises the score.",
    claims="map",
)
def gradient_rollout(
    q: Question,
    *,
    heads: str | Sequence[int] = "mean",
    layers: Any = None,
    token: Any = None,
    reshape: Any = None,
    upsample: Any = False,
) -> Values:
    """The product over layers of attention times its gradient where that is positive, less what was there before.

    R = (I + A_L) ... (I + A_1) - I, where A_l is the mean over heads of (dscore/dP_l * P_l)^+; a share of one layer has
    the unit of the score. The row of `token` is the answer. Options as in `attention_rollout`.
    """
    found = chosen(paid(q, gradients=True), layers)
    steps = []
    for a in found:
        p = _exact(a.probabilities)
        g = torch.stack(a.gradients) if a.gradients else torch.zeros_like(p)[None]
        if q.many and len(g) not in (1, len(q.scores)):
            refuse("target", f"{len(q.scores)} targets, of which {len(g)} reach a layer", "one target at a time")
        step = fused((_exact(g) * p).clamp(min=0), heads)
        steps.append((step if q.many else step[0]) + torch.eye(p.shape[-1], dtype=p.dtype, device=p.device))
    eye = torch.eye(steps[0].shape[-1], dtype=steps[0].dtype, device=steps[0].device)
    return placed(q, row_of(flow(steps) - eye, token, found), reshape, upsample)


def _exact(t: Tensor) -> Tensor:
    return t.to(accumulator(t.dtype))
