"""Full-Grad: the gradient at the inputs together with that at every bias of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core.errors import refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values
from enodo.rules.biases import BIASES, Biases

from .maps import Layout, layouts, resized

RESCALES = (None, "layer", "channel")


class Mixed(Exception):
    """Rows of a result cannot be told from its other dimensions: they are asked one by one."""


@dataclass
class Places:
    """What has been added up so far at the places of the values at `wrt`, a map (B, 1, *places) for each score."""

    rows: int
    layout: Layout
    shape: torch.Size  # (B, C, *places)
    tokens: int  # of the first dimension of places where they are a grid or a row, else 0
    signed: bool
    rescale: str | None
    maps: list[Tensor] = field(default_factory=list)
    calls: dict[int, int] = field(default_factory=dict)  # by operation, how many scores it has told of

    def add(self, number: int, t: Tensor) -> None:
        """The bias times the gradient of one operation, for the next score."""
        t = self._clean(t)
        score = self.calls.get(number, 0)
        self.calls[number] = score + 1
        if score == len(self.maps):
            self.maps.append(t.new_zeros(self.rows, 1, *self.shape[2:]))
        made = self._map(t)
        if made is not None:
            self.maps[score] = self.maps[score] + made

    def _clean(self, t: Tensor) -> Tensor:
        if self.rows == 1:
            return t if t.ndim and len(t) == 1 else t[None]
        if not t.ndim or len(t) != self.rows or (t.ndim > 1 and t.shape[1] == self.rows):
            raise Mixed
        return t

    def _map(self, t: Tensor) -> Tensor | None:
        """Where a value (B, ...) lies among the places, summed over all else; None where it lies nowhere."""
        placed = self._placed(t)
        if placed is None:
            if not self.signed:
                return None
            share = t.flatten(1).sum(1) if t.ndim > 1 else t
            return (
                (share / self.shape[2:].numel()).view(-1, *[1] * (len(self.shape) - 1)).expand(-1, 1, *self.shape[2:])
            )
        return self.drawn(placed)

    def _placed(self, t: Tensor) -> Tensor | None:
        """(B, C, *other places) if its dimensions are known; tokens that stand before those of patches go nowhere."""
        places = len(self.shape) - 2
        if not places:
            return t.flatten(1) if t.ndim > 1 else t[:, None]
        if self.layout.in_a_row or self.tokens:
            dim = next((d for d in (1, 2) if t.ndim > d and t.shape[d] == self.tokens), None)
            if dim is None:
                return None
            t = t.movedim(dim, -1).flatten(1, -2) if t.ndim > 2 else t[:, None]
            if self.signed and self.layout.grid is not None:  # keep the sum: what has no place goes everywhere
                spare = t.shape[-1] - torch.Size(self.layout.grid).numel()
                rest = t[..., :spare].sum(-1, keepdim=True) / max(1, t.shape[-1] - spare)
                t = t[..., spare:] + rest if spare else t
            elif self.layout.grid is not None:
                t = t[..., t.shape[-1] - torch.Size(self.layout.grid).numel() :]
            return t.unflatten(-1, self.layout.grid) if self.layout.grid is not None else t
        return t if t.ndim == len(self.shape) else None

    def drawn(self, t: Tensor) -> Tensor:
        """(B, C, *other places) as a map: sizes, brought to the range [0, 1] if asked, added up over channels."""
        if not self.signed:
            t = t.abs()
            if self.rescale is not None:
                dims = tuple(range(1 if self.rescale == "layer" else 2, t.ndim)) or (1,)
                low, high = t.amin(dims, keepdim=True), t.amax(dims, keepdim=True)
                t = (t - low) / torch.where(high > low, high - low, 1)
        t = t.sum(1, keepdim=True)
        if t.shape[2:] == self.shape[2:]:
            return t
        return spread(t, self.shape[2:]) if self.signed else resized(t, 1, self.shape[2:])


def spread(t: Tensor, size: Any) -> Tensor:
    """(B, 1, *places) in another size with the same sum: each place is shared out evenly over those it stands for."""
    for dim, n in enumerate(size, 2):
        to = F.adaptive_avg_pool1d(torch.eye(n, dtype=t.dtype, device=t.device)[None], t.shape[dim])[0]  # (n, places)
        t = (t.movedim(dim, -1) @ to.T).movedim(-1, dim)
    return t


@method(
    "full_grad",
    title="Full-Grad",
    paper="Srinivas and Fleuret 2019, arXiv:1905.00780, equations 2 and 4",
    when="A sharp map of all that raises or lowers a score, biases included, in one backward pass.",
    claims="map size",
)
def full_grad(
    q: Question,
    *,
    signed: bool = False,
    rescale: str | None = None,
    channel: int | None = None,
    reshape: Any = None,
    rules: Mapping[Any, Any] | None = None,
) -> Values:
    """The gradient times the values at `wrt`, and the gradient times the bias at each operation after it, as one map.

    f(x) = g.x + sum_l g_l.b_l exactly, for the biases that layers have and those that operations imply
    (`rules.biases`). The map adds up the sizes of all of these, each channel in the size of x; what has no places
    (behind a pooling) is left out.

    signed   keep signs, and share out evenly what has no place: the map sums to the score, and the gap is reported
    rescale  None keeps the unit of the score; "layer" brings the sizes at each operation to the range [0, 1], as the
             paper does, so that small ones count as much as large ones; "channel" those of each channel
    rules    treatments to add, for example {"relu6": PLAIN} from `enodo.core.tables` for one without a bias
    channel, reshape  as in `maps.maps`
    """
    if rescale not in RESCALES:
        refuse("rescale", rescale, f"one of {', '.join(map(repr, RESCALES))}")
    try:
        found, gaps = _maps(q, signed, rescale, channel, reshape, rules)
    except Mixed:
        parts = [_maps(_row(q, b), signed, rescale, channel, reshape, rules) for b in range(q.rows)]
        many = int(q.many)
        found = parts[0][0].map(lambda *ts: torch.cat(ts, many), *(p for p, _ in parts[1:]))
        gaps = torch.cat([g for _, g in parts], -1)
    q.memo["lead"] = int(q.many)
    if signed and not q.wrt.several:  # one layer may hold another
        q.memo["delta"] = gaps
    return found


def _row(q: Question, row: int) -> Question:
    return replace(q, target=q.settled_target).take(torch.tensor([row]))


def _maps(
    q: Question, signed: bool, rescale: str | None, channel: int | None, reshape: Any, rules: Any
) -> tuple[Values, Tensor]:
    """The map of each tensor at `wrt`, and how far its sum is from the score; biases are drawn on the first."""
    q.activation()
    every = layouts(q, channel, reshape)
    opened = [layout.open(x) for layout, x in zip(every, q.x.leaves, strict=True)]
    first, x = every[0], q.x.leaves[0]
    tokens = x.shape[1] if x.ndim == 3 and first.channel == -1 and first.fn is None else 0
    biases = Places(q.rows, first, opened[0].shape, tokens, signed, rescale)
    mode = Biases(biases.add, q.create_graph, BIASES.within(q.call.model, rules))
    _, g = replace(q, rules=mode).gradient()
    made = []
    for i, (layout, values) in enumerate(zip(every, opened, strict=True)):
        products = layout.open(g.leaves[i]) * values  # (T?, B, C, *places)
        here = Places(q.rows, layout, values.shape, 0, signed, rescale)
        each = [here.drawn(p if p.ndim > 1 else p[:, None]) for p in (products if q.many else products[None])]
        if i == 0 and biases.maps:
            each = [e + m for e, m in zip(each, biases.maps, strict=True)]
        made.append(layout.close(torch.stack(each) if q.many else each[0]))
    found = Values(made)
    return found, found.rowsum(q.scores).detach() - q.scores.detach()
