"""Explanations by attention: which tokens, or patches, the model looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from enodo.core.errors import BadType, describe, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, accumulator
from enodo.rules.attention import Attention, Attentions
from enodo.rules.seats import Stream

from .maps import grid_of, layouts, resized, sized
from .reading import note_answer, note_slopes, row_of, seats
from .relations import Related, Relations, divided, eye_like, whole


def paid(q: Question, gradients: bool = False) -> list[Attention]:
    """The attention that the model pays to what follows from `wrt`, layer by layer; with `gradients` of the score."""
    mode = Attentions(q.rows, gradients, q.create_graph)
    if gradients:
        replace(q, rules=mode).gradient()
    else:
        _, output = q.followed(mode)
    if not mode.found:
        expected = "a transformer: a softmax over tokens, of products of values that follow from the inputs"
        given = "one in which no attention is seen after " + ", ".join(q.wrt.names)
        refuse("model", given, expected, 'Ask "grad_cam" or "integrated_gradients".')
    if gradients:
        note_slopes(mode.found[-1], q.many)
    else:
        note_answer(mode.found[-1], q, output)
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
    """Some layers of attention, in their order."""
    if layers is None or isinstance(layers, slice):
        found = found[layers or slice(None)]
    else:
        numbers = [layers] if isinstance(layers, int) and not isinstance(layers, bool) else layers
        if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, int) for n in numbers):
            refuse("layers", layers, "None for all, a number, a list of numbers or a slice", kind=BadType)
        if not all(-len(found) <= n < len(found) for n in numbers):
            refuse("layers", layers, f"numbers of layers from 0 to {len(found) - 1}")
        found = [found[n] for n in sorted(n % len(found) for n in numbers)]
    if not found:
        refuse("layers", describe(layers), "at least one layer")
    return found


def placed(q: Question, scores: Mapping[Stream, Tensor], reshape: Any, upsample: Any) -> Values:
    """Scores (..., B, T) of streams of tokens as values at `wrt`: at the tokens, or at the pixels of their patches."""
    lead: tuple[int, ...] = ()
    made: dict[int, Tensor] = {}
    with_place = {s: t for s, t in scores.items() if not s.learnt} or scores
    for stream, t in map(_unmerged, with_place.items()):
        q.memo["lead"], lead = t.ndim - 2, t.shape[:-2]
        here = [i for i in _sources(q, stream) if i not in made]
        found = next(((i, p) for i in here if (p := _placed(q, i, t, reshape, upsample)) is not None), None)
        if found is None:
            shapes = ", ".join(str(tuple(q.x.leaves[i].shape)) for i in here)
            given = f"values of shape {shapes} for attention among {t.shape[-1]} tokens"
            refuse("wrt", given, "token ids, images cut into patches, or a layer with a vector a token")
        made[found[0]] = found[1].to(q.x.leaves[found[0]].dtype)
    # of other inputs, attention says nothing
    return Values(made[i] if i in made else x.new_zeros(*lead, *x.shape) for i, x in enumerate(q.x.leaves))


def _unmerged(scores: tuple[Stream, Tensor]) -> tuple[Stream, Tensor]:
    """Scores of tokens as those of the tokens that they were put together from, which share them."""
    stream, t = scores
    while stream.parent is not None and stream.shares is not None:
        t, stream = (t.unsqueeze(-2) @ stream.shares.to(t.dtype)).squeeze(-2), stream.parent
    return stream, t


def _sources(q: Question, stream: Stream) -> list[int]:
    """The values at `wrt` that a stream's tokens may be: those that they were followed from, where that is known."""
    nodes = {node.next_functions[0][0] for node in stream.sources if node is not None}
    known = [i for i, leaf in enumerate(q.sight.values.leaves) if get_gradient_edge(leaf).node in nodes]
    return known or list(range(len(q.x)))


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
    claims="map size",
    counts="share of attention",
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

    Tokens may look at others than themselves: a decoder at those of the encoder. What is looked at is told where it
    lies at `wrt`; merged tokens share theirs among those that they were made of.

    layer    the number of the layer, counted from `wrt`
    heads    "mean", "max" or "min" of the heads, or the numbers of some
    token    the position that looks, as in `row_of`
    reshape  how the tokens lie in a picture, and `upsample` its size, as in `maps.maps`
    """
    found = paid(q)
    (a,) = chosen(found, layer)
    looks, seen = seats(a)
    shares = whole(_exact(fused(a.probabilities, heads)), looks, seen)
    return placed(q, {seen.stream: row_of(shares, token, found, a)}, reshape, upsample)


@method(
    "attention_rollout",
    title="Attention rollout",
    paper="Abnar and Zuidema 2020, arXiv:2005.00928, equation 1",
    when="Where the information in a transformer's tokens comes from, through all layers; the same for every class.",
    needs="gradient",
    claims="map size",
    aliases=("rollout",),
    counts="share of attention",
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
    answer. Attention within windows is that of all tokens, zero between windows; tokens that are merged have the
    mean of what theirs had. `discard` leaves out that share of the smallest attentions of a layer, `layers` takes some
    only; other options as in `raw_attention`.
    """
    if isinstance(discard, bool) or not isinstance(discard, (int, float)) or not 0 <= discard < 1:
        refuse("discard", discard, "a share from 0 to below 1")
    found = paid(q)
    layered, relations = chosen(found, layers), Relations()
    for a in layered:
        looks, seen = seats(a)
        if looks.stream is not seen.stream:
            given = f"a layer, number {found.index(a)}, that looks at other tokens"
            own = [n for n, b in enumerate(found) if len({s.stream for s in (b.queries, b.keys) if s}) == 1]
            such = f", such as layers={own}" if own else ""
            refuse("layers", given, f"self-attention{such}", "Use gradient_rollout or raw_attention.")
        step = _exact(fused(a.probabilities, heads))
        count = int(discard * step[0].numel())
        if count:
            least = step.flatten(1).topk(count, 1, largest=False).indices
            step = step.flatten(1).scatter(1, least, 0).view(step.shape)
        step = whole(step, looks, seen)
        relations.replace(looks.stream, divided(step + eye_like(step)))
    return _read(q, relations.related[looks.stream], token, found, layered[-1], reshape, upsample)


@method(
    "gradient_rollout",
    title="Gradient-weighted attention rollout",
    paper="Chefer et al. 2021, arXiv:2103.15679, equations 5 to 11",
    when="Which tokens or patches of a transformer speak for a class: attention, counted where it raises the score.",
    claims="map size",
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
    the unit of the score. The row of `token` is the answer. Where an encoder's tokens are looked at by a decoder's,
    both have their own (equations 10 and 11). Options as in `attention_rollout`.
    """
    found = paid(q, gradients=True)
    layered, relations = chosen(found, layers), Relations()
    asked = [a for a in layered if a.keys is not None or a.queries is None] or layered
    for a in asked:
        looks, seen = seats(a)
        p = _exact(a.probabilities)
        g = torch.stack(a.gradients) if a.gradients else torch.zeros_like(p)[None]
        if q.many and len(g) not in (1, len(q.scores)):
            refuse("target", f"{len(q.scores)} targets, of which {len(g)} reach a layer", "one target at a time")
        step = fused((_exact(g) * p).clamp(min=0), heads)
        relations.add(looks.stream, seen.stream, whole(step if q.many else step[0], looks, seen))
    return _read(q, relations.gained(looks.stream), token, found, asked[-1], reshape, upsample)


def _read(
    q: Question, related: Related, token: Any, found: list[Attention], last: Attention, reshape: Any, upsample: Any
) -> Values:
    """What the token that is read has of those at `wrt`."""
    rows = {stream: row_of(t, token, found, last) for stream, t in related.items()}
    return placed(q, rows, reshape, upsample)


def _exact(t: Tensor) -> Tensor:
    return t.to(accumulator(t.dtype))
