"""`Relations`: how the tokens of a layer relate to those of the beginning, as attention mixes them."""

from __future__ import annotations

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.rules.attention import Attention
from enodo.rules.seats import Seats, Stream

Related = dict[Stream, Tensor]  # to each stream of the beginning, (..., B, T, T of that stream)


def whole(step: Tensor, queries: Seats, keys: Seats) -> Tensor:
    """Attention (..., B, Q, K), or (..., B, W, Q, K) in windows, among all tokens: (..., B, T, T of the keys)."""
    t, s = queries.stream.count, keys.stream.count
    lead = step.shape[: step.ndim - queries.places.ndim - 1]
    to, of = queries.places[..., :, None], keys.places[..., None, :]
    index = torch.where((to >= 0) & (of >= 0), to * s + of, t * s).flatten(1)  # the last is nobody's
    made = step.new_zeros(*lead, len(index), t * s + 1)
    made = made.scatter_add(-1, index.expand(*lead, *index.shape), step.flatten(len(lead) + 1))
    found: Tensor = made[..., :-1].unflatten(-1, (t, s))
    return found


def eye_like(t: Tensor) -> Tensor:
    """The unit matrix of square matrices."""
    return torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)


def divided(t: Tensor) -> Tensor:
    """(..., T, S) with rows that sum to one; zero stays zero."""
    total = t.sum(-1, keepdim=True)
    return t / torch.where(total == 0, 1, total)


class Relations:
    """What each stream of tokens has of those that it began with; streams are entered when they are first met.

    Tokens that are put together from others have the mean of what these had.
    """

    def __init__(self) -> None:
        self.related: dict[Stream, Related] = {}
        self.plain: dict[Stream, Tensor] = {}  # what a stream has of its own beginning without any attention

    def at(self, stream: Stream, like: Tensor) -> Related:
        """What a stream has now."""
        if stream not in self.related:
            if stream.parent is None or stream.shares is None:
                self.plain[stream] = torch.eye(stream.count, dtype=like.dtype, device=like.device)
                self.related[stream] = {stream: self.plain[stream]}
            else:
                shares, older = stream.shares.to(like.dtype), self.at(stream.parent, like)
                self.plain[stream] = shares @ self.plain[stream.parent]
                self.related[stream] = {origin: shares @ t for origin, t in older.items()}
        return self.related[stream]

    def gained(self, stream: Stream) -> Related:
        """What attention has brought to a stream."""
        related = self.related[stream]
        lead = max((t.shape[:-2] for t in related.values()), key=len)  # what gained nothing has no rows as yet
        return {
            o: (t - self.plain[stream] if o is stream.root else t).expand(*lead, -1, -1) for o, t in related.items()
        }

    def replace(self, stream: Stream, step: Tensor) -> None:
        """Let the tokens of a stream become what they attend to, (..., B, T, T)."""
        self.related[stream] = {o: step @ t for o, t in self.at(stream, step).items()}

    def add(self, queries: Stream, keys: Stream, step: Tensor) -> None:
        """Let the tokens of a stream gain what they attend to: Chefer et al. 2021, equations 6 and 7, or 10 and 11."""
        mine, theirs = self.at(queries, step), self.at(keys, step)
        if queries is keys:
            self.related[queries] = {o: t + step @ t for o, t in mine.items()}
            return
        if queries.parent is not None or keys.parent is not None:
            refuse("model", "attention between streams of tokens that have been merged", "attention before merging")
        own, other = (divided(self.gained(s)[s]) + eye_like(self.plain[s]) for s in (queries, keys))
        brought = own.mT @ step @ other
        made = {**mine, keys: mine[keys] + brought if keys in mine else brought}
        if queries in theirs:
            made[queries] = mine[queries] + step @ theirs[queries]
        self.related[queries] = made


def looks_ahead(found: list[Attention], stream: Stream) -> bool:
    """Whether a token of a stream looks at one after it."""
    for a in found:
        if a.queries is None or a.keys is None or not (a.queries.stream is stream is a.keys.stream):
            continue
        ahead = a.keys.places[..., None, :] > a.queries.places[..., :, None]
        if bool((a.probabilities * ahead.unsqueeze(-3)).any()):
            return True
    return False
