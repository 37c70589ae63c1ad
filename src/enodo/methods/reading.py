"""Which tokens an answer is read from, after the last attention: told by the slopes of the answer there.

What an answer is not read from has no slope in where it looks, to the last digit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core import tree as trees
from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.rules.attention import Attention
from enodo.rules.seats import Seats

from .relations import divided, looks_ahead


def note_slopes(last: Attention, many: bool) -> None:
    """Let the last attention know what is `read`, by the gradients of one score, or of `many`."""
    if last.gradients:
        slopes = torch.stack(last.gradients)
        last.read = read_at(last, slopes if many else slopes[0])


def note_answer(last: Attention, q: Question, output: Any) -> None:
    """The same by an output, of which no gradient was taken yet."""
    answer = _answer(q, output)
    if last.root is None or answer is None:
        return
    weights = torch.arange(1.0, answer.numel() + 1, device=answer.device).view(answer.shape)  # so that none cancel
    (slope,) = torch.autograd.grad(answer, last.root, weights.to(answer), q.create_graph, allow_unused=True)
    last.read = None if slope is None else read_at(last, last.laid(slope))


def _answer(q: Question, output: Any) -> Tensor | None:
    """What is read from the tokens: the scores of a target, or the only answer of each row; None if it is not told."""
    if q.target is not None:
        q.settle(output)
        return q.score_of(output, 1)
    found = [t for _, t in trees.leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
    return found[0] if len(found) == 1 and found[0].ndim <= 2 and found[0].requires_grad else None


def read_at(last: Attention, slopes: Tensor) -> Tensor | None:
    """Which tokens are read after the last attention, (..., B, T), by the slopes of an answer in its probabilities."""
    if last.queries is None:
        return None
    stream, places = last.queries
    sloped = (slopes != 0).any(-1).any(-2)  # (..., B, Q), or (..., B, W, Q)
    lead = sloped.shape[: sloped.ndim - places.ndim]
    at = torch.where(places >= 0, places, stream.count).flatten(1).expand(*lead, -1, -1)
    read = sloped.new_zeros(*lead, len(places), stream.count + 1, dtype=torch.long)
    return read.scatter_add(-1, at, sloped.flatten(len(lead) + 1).long())[..., :-1] > 0


def seats(a: Attention) -> tuple[Seats, Seats]:
    """The tokens that look, and those looked at."""
    shape = tuple(a.probabilities.shape)
    if a.queries is None:
        given = f"one whose attention {shape} is among tokens that cannot be followed from the inputs"
        expected = "tokens that are moved and merged, and no more, so that each has a place in the input"
        refuse("model", given, expected, 'Ask "grad_cam" at a layer with places (wrt=), or "integrated_gradients".')
    if a.keys is None:
        given = f"attention {shape} to what does not follow from the values explained"
        refuse("layers", given, "attention to tokens at wrt, or after it", "Ask at the inputs, or name other layers.")
    return a.queries, a.keys


def row_of(t: Tensor, token: Any, found: list[Attention], last: Attention) -> Tensor:
    """The row of (..., B, T, S) that belongs to a token, (..., B, S): that from which the score is read.

    None is the mean of those that the score (without a target, the one answer of each row) depends on after the last
    attention: the class token, the last one of each row, all that an average is taken of. Where that is not told, it is
    the mean of all where tokens have only seen their window or have been merged; the last one where no token looks
    ahead; and else the first. An int, or one a row, is another; "mean" takes the mean of all.
    """
    count, rows = t.shape[-2], t.shape[-3]
    stream = seats(last)[0].stream
    if token is None:
        apart = last.windows or stream.parent is not None
        token = "mean" if apart else 0 if looks_ahead(found, stream) or count == 1 else -1
        read, queries = found[-1].read, found[-1].queries
        if read is not None and queries is not None and queries.stream is stream:
            told = divided(read.to(t.dtype)).unsqueeze(-2) @ t
            return torch.where(read.any(-1, keepdim=True), told.squeeze(-2), row_of(t, token, found, last))
    if isinstance(token, str) and token == "mean":
        return t.mean(-2)
    index = torch.as_tensor(token, device=t.device) if isinstance(token, (int, list, tuple, Tensor)) else None
    if index is None or index.is_floating_point() or index.dtype == torch.bool or index.ndim > 1:
        refuse("token", token, 'None, a position, one position a row, or "mean"', kind=BadType)
    if index.numel() not in (1, rows) or not bool(((index >= -count) & (index < count)).all()):
        refuse("token", token, f"a position from 0 to {count - 1}, or one for each of the {rows} rows")
    index = (index % count).expand(rows).view(rows, 1, 1).expand(*t.shape[:-2], 1, t.shape[-1])
    return t.gather(-2, index)[..., 0, :]
