"""`Layout`: where the features lie in the values at a place; masks of what is present, attributions spread over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .threads import cached_property
from .values import Values

NOBODY = torch.iinfo(torch.long).min  # names what belongs to no feature; every other whole number may name one


@dataclass(frozen=True, eq=False)
class Layout:
    """Features that share no value: each value belongs to one of them, or to none and is never switched off.

    `owners` has, for each tensor of the values, the feature of each entry, in a shape that broadcasts to (B, ...): rows
    in front, one for all or one each. Features are numbered from 0 within a row; n stands for none.
    """

    n: int  # features; where rows have different numbers, the most that one has
    owners: tuple[Tensor, ...]
    counts: Tensor | None = None  # (B,): how many features each row has, where they differ
    open: bool = False  # whether some values belong to no feature
    each: bool = False  # whether the features are the entries of the only tensor, in order

    def ends(self) -> list[list[Tensor]]:
        """Where each tensor is present with all features present, and with none: two lists of (1, 1 or B, ...)."""
        every = [torch.ones((1, *t.shape), dtype=torch.bool, device=t.device) for t in self.owners]
        return [every, [(t == self.n)[None] for t in self.owners] if self.open else [~t for t in every]]

    def take(self, rows: Tensor) -> Layout:
        """The features of some of the rows."""
        owners = tuple(t if len(t) == 1 else t[rows.to(t.device)] for t in self.owners)
        counts = None if self.counts is None else self.counts[rows.to(self.counts.device)]
        return replace(self, owners=owners, counts=counts)

    def absent_alone(self, i: int, j: int) -> list[Tensor]:
        """For each tensor, where it is absent when one of the features i to j is: (j - i, 1 or B, ...), bool."""
        features = torch.arange(i, j, device=self.owners[0].device)
        return [owner == features.view(-1, *[1] * owner.ndim) for owner in self.owners]

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """The entries of the only tensor in the order of their features, and where each feature's begin and end."""
        owner = self.owners[0].flatten()
        return torch.argsort(owner, stable=True), F.pad(owner.bincount(minlength=self.n).cumsum(0), (1, 0))

    @cached_property
    def largest(self) -> int:
        """How many entries of the only tensor, of whose rows all have the same features, one of these has at most."""
        return 1 if self.each else int(self._places[1][: self.n + 1].diff().amax())

    def entries(self, i: int, j: int) -> list[Tensor]:
        """The entries of the features i to j in the only tensor, (j - i, 1, c), and whether they are the feature's.

        Where one has fewer than another, what follows fills its places.
        """
        order, ends = self._places
        found = ends[i:j, None, None] + torch.arange(self.largest, device=order.device)
        return [order[found % len(order)], found < ends[i + 1 : j + 1, None, None]]

    def present(self, coalitions: Tensor) -> list[Tensor]:
        """For each tensor, where it is present in coalitions (k, n) or (k, B, n): (k, 1 or B, ...), bool."""
        c = coalitions if coalitions.ndim == 3 else coalitions[:, None]
        if self.each:
            return [c.reshape(*c.shape[:2], *self.owners[0].shape[1:])]
        c = F.pad(c, (0, 1), value=True) if self.open else c
        return [_spread(c, owner) for owner in self.owners]

    def spread(self, phi: Tensor, like: Values) -> Values:
        """Each value's attribution, shaped like the values (..., B, ...): that of its feature, phi (..., B, n)."""
        if self.each:
            return Values([_whole(phi.reshape(*phi.shape[:-1], *self.owners[0].shape[1:]), like.leaves[0])])
        phi = F.pad(phi, (0, 1)) if self.open else phi
        return Values(_whole(_spread(phi, owner), t) for owner, t in zip(self.owners, like.leaves, strict=True))

    def gather(self, values: Values, lead: int) -> Tensor:
        """The sum over each feature's values, (..., B, n), of values with `lead` dimensions up to the rows."""
        total: Tensor | None = None
        for owner, t in zip(self.owners, values.leaves, strict=True):
            flat = t.flatten(lead) if t.ndim > lead else t[..., None]
            index = owner.expand(len(owner), *t.shape[lead:]).reshape(len(owner), -1).expand(flat.shape)
            part = flat.new_zeros(*flat.shape[:-1], self.n + 1).scatter_add(-1, index, flat)[..., : self.n]
            total = part if total is None else total + part
        return torch.zeros(0) if total is None else total


@dataclass(frozen=True, eq=False)
class Windows(Layout):
    """Features that may share values: boxes slid over the tensors. `owners` is empty.

    A value is absent when one of the windows over it is; its attribution is the mean over them.
    """

    boxes: tuple[tuple[Tensor, Tensor], ...] = ()  # for each tensor, first and last + 1 place: (windows, d) each
    shapes: tuple[tuple[int, ...], ...] = ()  # for each tensor, the dimensions that windows are slid over

    @property
    def _sides(self) -> list[tuple[tuple[int, ...], tuple[Tensor, Tensor]]]:
        return list(zip(self.shapes, self.boxes, strict=True))

    def ends(self) -> list[list[Tensor]]:
        """As `Layout.ends`: every value is under a window."""
        whole = [torch.ones((1, 1, *s), dtype=torch.bool, device=b[0].device) for s, b in self._sides]
        return [whole, [torch.zeros_like(t) for t in whole]]

    def absent_alone(self, i: int, j: int) -> list[Tensor]:
        """As `Layout.absent_alone`."""
        found, first = [], 0
        for shape, (start, stop) in self._sides:
            last = first + len(start)
            a, b = (min(max(v, first), last) for v in (i, j))
            some = slice(a - first, b - first)
            inside = start.new_ones((b - a, *[1] * len(shape)), dtype=torch.bool)
            for d, size in enumerate(shape):
                place = torch.arange(size, device=start.device)
                within = (place >= start[some, d, None]) & (place < stop[some, d, None])
                inside = inside & within.view(b - a, *[size if e == d else 1 for e in range(len(shape))])
            if b - a < j - i:  # the others lie in other tensors
                inside = inside.new_zeros((j - i, *shape)).index_copy(0, torch.arange(a - i, b - i), inside)
            found.append(inside[:, None])
            first = last
        return found

    def present(self, coalitions: Tensor) -> list[Tensor]:
        """As `Layout.present`."""
        c = coalitions if coalitions.ndim == 3 else coalitions[:, None]
        absent = self._summed((~c).to(torch.float32))
        return [t == 0 for t in absent]

    def spread(self, phi: Tensor, like: Values) -> Values:
        """As `Layout.spread`, windows that overlap sharing."""
        total = self._summed(phi)
        count = self._summed(phi.new_ones(1, self.n))
        pairs = zip(total, count, like.leaves, strict=True)
        return Values(_whole(t / c.clamp(min=1), x) for t, c, x in pairs)

    def gather(self, values: Values, lead: int) -> Tensor:
        """As `Layout.gather`."""
        step = max(1, (1 << 22) // max(math.prod(s) for s in self.shapes))
        parts = []
        for i in range(0, self.n, step):
            masks = self.absent_alone(i, min(i + step, self.n))
            pairs = zip(values.leaves, masks, strict=True)
            parts.append(
                sum(t.flatten(lead) @ m.expand(len(m), 1, *t.shape[lead:]).flatten(1).T.to(t) for t, m in pairs)
            )
        return torch.cat([p for p in parts if isinstance(p, Tensor)], -1)

    def _summed(self, phi: Tensor) -> list[Tensor]:
        """For each tensor, the sum over the windows over each value: (..., n) -> (..., *shape)."""
        step = max(1, (1 << 22) // max(math.prod(s) for s in self.shapes))
        totals = [phi.new_zeros((*phi.shape[:-1], math.prod(s))) for s in self.shapes]
        for i in range(0, self.n, step):
            j = min(i + step, self.n)
            for total, mask in zip(totals, self.absent_alone(i, j), strict=True):
                total.add_(phi[..., i:j] @ mask.flatten(1).to(phi.dtype))
        return [t.reshape(*t.shape[:-1], *s) for t, s in zip(totals, self.shapes, strict=True)]


def numbered(ids: Sequence[Tensor], rows: int) -> Layout:
    """The Layout of groups named by whole numbers, (1 or B, ...) for each tensor; the same name is one feature.

    Where rows have groups of their own, each row's are numbered by themselves: what another row has changes nothing.
    What is named `NOBODY` belongs to none.
    """
    if all(len(t) == 1 for t in ids):
        flat = torch.cat([t.flatten() for t in ids])
        names, index = torch.unique(flat, return_inverse=True)
        nobody = int(names[0] == NOBODY)
        n = len(names) - nobody
        index = torch.where(index < nobody, n, index - nobody)
        return Layout(n, _cut(index[None], ids), open=bool(nobody))
    flat = torch.cat([t.expand(rows, *t.shape[1:]).flatten(1) for t in ids], 1)
    order = torch.argsort(flat, dim=1, stable=True)
    ordered = flat.gather(1, order)
    new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0))
    index = torch.empty_like(flat).scatter_(1, order, new.cumsum(1))
    index = index - (ordered[:, :1] == NOBODY).long()
    counts = index.amax(1) + 1
    n = int(counts.max())
    index = torch.where(flat == NOBODY, n, index)
    open_ = bool((flat == NOBODY).any())
    return Layout(n, _cut(index, ids), counts if bool((counts != n).any()) else None, open=open_)


def _cut(index: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Numbers (rows, all entries) in the shapes of the tensors they were joined from."""
    parts = index.split([t[0].numel() for t in like], 1)
    return tuple(part.reshape(len(index), *t.shape[1:]) for part, t in zip(parts, like, strict=True))


def _spread(c: Tensor, owner: Tensor) -> Tensor:
    """(..., 1 or B, n) -> (..., 1 or B, *shape): for each entry what its feature has."""
    shape = owner.shape[1:]
    if len(owner) == 1:
        return c.index_select(-1, owner.flatten()).reshape(*c.shape[:-1], *shape)
    rows = len(owner)
    c = c.expand(*c.shape[:-2], rows, c.shape[-1])
    index = owner.flatten(1).expand(*c.shape[:-1], owner[0].numel())
    return c.gather(-1, index).reshape(*c.shape[:-1], *shape)


def _whole(t: Tensor, like: Tensor) -> Tensor:
    """(..., 1 or B, entries that broadcast) -> (..., *like)."""
    lead = t.shape[: t.ndim - like.ndim]
    return t.expand(*lead, *like.shape).contiguous()
