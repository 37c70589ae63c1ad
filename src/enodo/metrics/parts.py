"""What is taken away together, and what an attribution says about each such part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core import tree as trees
from enodo.core.errors import BadType, refuse
from enodo.core.places import Sight
from enodo.core.question import Question
from enodo.core.registry import methods
from enodo.core.result import Attribution
from enodo.core.values import Values, along, is_continuous

STAYS = -1  # the part of a value that is never taken away


@dataclass(frozen=True)
class Parts:
    """Which of n parts each value belongs to, or `STAYS`; leaves (B, ...), or (1, ...) where all rows have the same."""

    ids: Values
    n: int

    @property
    def met(self) -> Tensor:
        """Which parts each row has, (B, n) or (1, n); a row need not have all of them."""
        rows = max(len(t) for t in self.ids.leaves)
        met = torch.zeros(rows, self.n + 1, dtype=torch.bool)
        for t in self.ids.leaves:
            flat = t.reshape(len(t), -1).expand(rows, -1).to(met.device)
            met.scatter_(1, torch.where(flat < 0, self.n, flat), True)
        return met[:, : self.n]

    def total(self, values: Values, lead: int) -> Tensor:
        """The sum over each part, (*lead, B, n), of values (*lead, B, ...)."""
        out: Any = 0
        for t, ids in zip(values.leaves, self.ids.leaves, strict=True):
            flat = t.detach().double().flatten(lead + 1)
            which = ids.to(t.device).expand(t.shape[lead], *ids.shape[1:]).flatten(1).expand_as(flat)
            which = torch.where(which < 0, self.n, which)
            out = out + flat.new_zeros(*flat.shape[:-1], self.n + 1).scatter_add(-1, which, flat)
        whole: Tensor = out[..., : self.n]
        return whole

    def mask(self, present: Tensor) -> Values:
        """For each value whether it is there, (k, B, ...), when the parts `present`, (k, B, n) bool, are."""
        k, rows, _ = present.shape
        known = torch.cat([present, present.new_ones(k, rows, 1)], -1)

        def one(ids: Tensor) -> Tensor:
            which = torch.where(ids < 0, self.n, ids).to(known.device)
            if len(which) == 1:
                return known[:, :, which[0]]
            return known.gather(2, which.flatten(1).expand(k, -1, -1)).view(k, *which.shape)

        return self.ids.map(one)


def parts_of(q: Question, groups: Any, rows: Tensor) -> Parts:
    """The parts of the values at the question's place; `rows` are those it asks about of the rows `groups` is for.

    groups  None for every value, but for pictures (B, C, H, W) every pixel with its channels, and for token ids every
            token. Or whole numbers in the structure of the inputs, with as many rows or one, and 1 or all channels:
            equal numbers are one part, negative ones stay.
    """
    sight = q.sight
    if groups is not None:
        return _numbered(_leaves(groups, q, 0, "groups"), q, rows)
    start, ids = 0, []
    for t in _plain(sight):
        shape = (1, *t.shape[2:]) if t.ndim > 3 else t.shape[1:]
        size = torch.Size(shape).numel()
        ids.append((start + torch.arange(size)).view(1, *shape).expand(1, *t.shape[1:]))
        start += size
    for leaf, path in enumerate(sight.where.ids):
        size = trees.get(q.call.inputs, path)[0].numel()
        for found, vectors in zip(sight.lookups, sight.vectors, strict=True):
            if found.leaf == leaf:
                ids.append(_over(torch.where(found.positions < 0, STAYS, found.positions + start), vectors))
        start += size
    return Parts(Values(ids), start)


def _plain(sight: Sight) -> list[Tensor]:
    """What is at the place besides looked-up vectors."""
    return [t for found in sight.leaves for t in found]


def _over(t: Tensor, like: Tensor) -> Tensor:
    """(B, ...) repeated over the last dimensions of `like`."""
    return along(t, like).expand(like.shape)


def _numbered(given: list[Tensor], q: Question, rows: Tensor) -> Parts:
    """Groups as consecutive numbers; those of tokens are carried over to the vectors looked up."""
    sight = q.sight
    for t in given:
        if is_continuous(t) or t.dtype == torch.bool:
            refuse("groups", t, "whole numbers", kind=BadType)
    every = torch.cat([t.flatten() for t in given])
    known = every[every >= 0].unique()
    if not len(known):
        refuse("groups", "negative numbers only", "at least one group that may be taken away")
    given = [torch.where(t < 0, STAYS, torch.searchsorted(known, t.contiguous())) for t in given]
    ids = [_some(_spread(t, like.shape[1:]), 0, rows) for t, like in zip(given, _plain(sight), strict=False)]
    for found, vectors in zip(sight.lookups, sight.vectors, strict=True):
        own = _some(given[len(_plain(sight)) + found.leaf].flatten(1), 0, rows)
        where = found.positions.flatten(1)
        own = own.expand(len(where), -1).gather(1, where.clamp(min=0))
        ids.append(_over(torch.where(where < 0, STAYS, own).view(found.positions.shape), vectors))
    return Parts(Values(ids), len(known))


def _spread(t: Tensor, shape: torch.Size) -> Tensor:
    """Groups for one row, or for each, over all its values."""
    t = t[None] if t.ndim == len(shape) else t
    try:
        return t.expand(len(t), *shape)
    except (RuntimeError, IndexError):
        refuse("groups", t, f"whole numbers that broadcast to (B, {', '.join(map(str, shape))})")


def scores_of(q: Question, attribution: Any, parts: Parts, lead: int, rows: Tensor) -> Tensor:
    """What an attribution says about each part, (*lead, B, n): the sum over it.

    A map coarser than the picture is first brought to its size. Methods that take parts away give each value what its
    whole part has: of theirs, the mean.
    """
    sight, whole = q.sight, len(_plain(q.sight))
    values = attribution.values if isinstance(attribution, Attribution) else attribution
    given = [_some(t, lead, rows) for t in _leaves(values, q, lead, "attribution")]
    leaves = [_fitted(t, like, lead) for t, like in zip(given, _plain(sight), strict=False)]
    for found, vectors in zip(sight.lookups, sight.vectors, strict=True):
        leaves.append(_by_vector(given[whole + found.leaf], found.positions, vectors, lead))
    out = parts.total(Values(leaves), lead)
    if isinstance(attribution, Attribution) and _is_whole(attribution):
        ones = [torch.ones((1,) * lead + t.shape[lead:]) for t in leaves]
        out = out / parts.total(Values(ones), lead).to(out).clamp(min=1)
    if not out.isfinite().all():
        refuse("attribution", "NaN or infinity", "finite numbers")
    return out


def _is_whole(attribution: Attribution) -> bool:
    """Whether each value has what its whole part has."""
    card = methods().get(attribution.method)
    return card is not None and "absence" in card.needs


def _some(t: Tensor, dim: int, rows: Tensor) -> Tensor:
    return t if t.shape[dim] == 1 else t.index_select(dim, rows.to(t.device))  # one for all rows


def _by_vector(t: Tensor, positions: Tensor, vectors: Tensor, lead: int) -> Tensor:
    """Scores of tokens (*lead, B, ...) at the first entry of the vectors that they were looked up as."""
    tokens = t.flatten(lead + 1)
    where = positions.flatten(1).clamp(min=0).expand(*tokens.shape[: lead + 1], -1)
    own = tokens.gather(-1, where.to(tokens.device)).double()
    out = own.new_zeros(*t.shape[:lead], *vectors.shape)
    out.view(*own.shape, -1)[..., 0] = own
    return out


def _fitted(t: Tensor, like: Tensor, lead: int) -> Tensor:
    """An attribution in the shape of the values it is about: a coarser map enlarged, one channel laid under all."""
    want = (*t.shape[:lead], *like.shape)
    if t.shape == want:
        return t
    if t.ndim == len(want) and like.ndim == 4 and t.shape[lead] == len(like):
        flat = t.flatten(0, lead).sum(1, keepdim=True).double()
        flat = F.interpolate(flat, size=tuple(like.shape[2:]), mode="bilinear", align_corners=False)
        wide: Tensor = flat.unflatten(0, t.shape[: lead + 1])
        return wide.expand(want) / like.shape[1]
    refuse("attribution", t, f"shape {tuple(want)}, as the values it is about, or a map (B, 1, h, w) of a picture")


def _leaves(tree: Any, q: Question, lead: int, argument: str) -> list[Tensor]:
    """The tensors of a structure like the values at the place, rows first, in the order of `Values`."""
    sight = q.sight
    places = tree if sight.where.several else (tree,)
    out: list[Tensor] = []
    try:
        for place, form in zip(places, sight.forms, strict=True):
            found = [trees.get(place, path) for path in form.paths]
            out += [t.movedim(lead + d, lead) for t, d in zip(found, form.dims or (0,) * len(found), strict=True)]
        if sight.lookups:
            depth = len(sight.where.points[0].path)
            out += [trees.get(places[0], path[depth:]) for path in sight.where.ids]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        refuse(argument, tree, "a structure like that of the values it is about", kind=BadType)
    for t in out:
        if not isinstance(t, Tensor):
            refuse(argument, t, "tensors in the structure of the values it is about", kind=BadType)
    return out
