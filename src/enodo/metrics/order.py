"""Ranks and orders of the features of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core.streams import Streams
from enodo.core.values import Values


def ranks(scores: Tensor) -> Tensor:
    """The rank of each score within its row, (..., n), from 1 for the smallest; equal scores share their mean rank."""
    scores = scores.detach().double().contiguous()
    ordered = scores.sort(-1).values
    below = torch.searchsorted(ordered, scores)
    upto = torch.searchsorted(ordered, scores, right=True)
    return (below + upto + 1).double() / 2


def places(scores: Tensor, streams: Streams) -> Tensor:
    """The place of each feature in its row, (..., B, n), when the largest score comes first, from 0.

    Equal scores come in an order drawn from the row's stream, so that it is no artefact of how features are numbered.
    """
    drawn = chances(scores, streams).argsort(-1).expand(scores.shape)
    order = drawn.gather(-1, scores.gather(-1, drawn).argsort(dim=-1, descending=True, stable=True))
    return order.argsort(-1)


def chances(like: Tensor, streams: Streams) -> Tensor:
    """Random scores (B, n) for the rows of `like`, each row's from its own stream."""
    return streams.normal(Values([like.new_zeros(like.shape[-2:], dtype=torch.float32)])).leaves[0]
