"""`Tokens`: which token each vector of a pass belongs to, followed as the model runs.

Where a layer that works on vectors (a linear map, a norm) meets values (B, ..., C), their places become tokens, and
from there on they are followed: through views, permutations, shifts and windows by doing to their numbers what the
model does to the values; through operations that leave each vector where it is, unchanged; through attention, whose
result belongs to the tokens that ask. Vectors put together from those of several tokens (patches that are merged) are
tokens of a new stream, each with its shares of the older ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from enodo.core.operations import parts, tensors_in

from . import elementwise
from .factors import Lay, factored
from .linear import CASTS
from .seats import NOBODY, Seats, Stream

RESHAPES = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze ravel view_as reshape_as contiguous clone".split()
)
MOVES = frozenset(
    "transpose permute t T mT movedim expand expand_as broadcast_to repeat repeat_interleave tile getitem select narrow"
    " split split_with_sizes tensor_split chunk unbind flip roll index_select".split()
)
JOINS = frozenset("cat stack".split())
ENTRIES = frozenset(CASTS) | elementwise.KINKED | elementwise.SMOOTH | elementwise.SINGULAR | frozenset(
    "softmax add sub rsub mul div neg dropout dropout1d dropout2d alpha_dropout feature_alpha_dropout masked_fill where"
    " maximum minimum detach".split()
)  # fmt: skip
BY_VECTOR = frozenset("linear layer_norm rms_norm native_layer_norm".split())


class Held(NamedTuple):
    """What is known of a value: of each entry the number of its token, or below NOBODY that of its row, counted down.

    A product of two tokens' vectors has two: who asks, and who is asked. `root` is the softmax that it comes from.
    """

    owners: tuple[Tensor, ...] = ()
    root: Tensor | None = None


class Tokens:
    """The tokens of one pass of so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows, self.next = rows, 0
        self.streams: list[Stream] = []
        self._held: dict[int, tuple[Tensor, Held]] = {}  # by id; the tensor is kept alive
        self._sources: list[Any] = []

    def held(self, t: Any) -> Held | None:
        """What is known of a value."""
        found = self._held.get(id(t))
        return found[1] if found is not None else None

    def hold(self, t: Tensor, held: Held) -> None:
        """Remember what is known of a value."""
        self._held[id(t)] = t, held

    def start(self, t: Tensor) -> None:
        """Be told of a value (B, ...) that gradients are taken of."""
        if t.ndim and len(t) == self.rows:
            row = torch.arange(self.rows, device=t.device).view(-1, *[1] * (t.ndim - 1))
            self._sources.append(t.grad_fn)
            laid = torch.empty_strided(t.shape, t.stride(), dtype=row.dtype, device=t.device)  # as views of t know it
            self.hold(t, Held((laid.copy_((NOBODY - 1 - row).expand(t.shape)),)))

    def after(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Learn what the result of a call belongs to."""
        given = [t for _, t in tensors_in(args, kwargs)]
        for t in given:
            self._look_through(t)
        if name in BY_VECTOR and given and not self._tokens(given[0]):
            self._begin(given[0])
        if not any(id(t) in self._held for t in given):
            return
        if name in BY_VECTOR:
            self._by_vector(given[0], out)
        elif name in RESHAPES or name in MOVES or name in JOINS or name in ("pad", "constant_pad_nd"):
            self._move(name, func, args, kwargs, out)
        elif name in ENTRIES:
            self._one_by_one(name, given, out)
        elif (factors := factored(name, args, given)) is not None:
            self._multiply(*factors, out)
        elif name == "setitem" and id(args[0]) in self._held:
            del self._held[id(args[0])]

    def _look_through(self, t: Tensor) -> None:
        """Know a view that was made out of sight of a value that gradients are taken of."""
        if id(t) in self._held or t._base is None:
            return
        whole = self.held(t._base)
        if whole is not None and t._base.grad_fn in self._sources:
            self.hold(t, Held((whole.owners[0].as_strided(t.shape, t.stride(), t.storage_offset()),)))

    def seats(self, owners: Tensor) -> Seats | None:
        """Numbers (B, ..., n) as places in their stream, where there is one for all, and rows are where they belong."""
        stream = self.stream_of(owners)
        if stream is None:
            return None
        there = owners >= 0
        row = torch.arange(self.rows, device=owners.device).view(-1, *[1] * (owners.ndim - 1))
        places = owners - stream.first - row * stream.count
        if not bool((~there | ((places >= 0) & (places < stream.count))).all()):
            return None
        return Seats(stream, torch.where(there, places, NOBODY))

    def asking(self, owners: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The owners of a softmax (..., Q, K), who asks first; learnt queries are new tokens."""
        varied = [o.shape[-1] > 1 and bool((o != o[..., :1]).any()) for o in owners]
        if len(owners) == 2:
            return owners[::-1] if varied == [True, False] else owners
        stream = self.stream_of(owners[0]) if owners else None
        if not owners or not varied[0] or stream is None:
            return owners
        row = (owners[0].amax(-1, keepdim=True) - stream.first) // stream.count  # (..., Q, 1)
        count = row.shape[-2]
        place = torch.arange(count, device=row.device)[:, None]
        queries = self._new(count, learnt=True)
        return (queries.first + row * count + place).expand(owners[0].shape), owners[0]

    def stream_of(self, owners: Tensor) -> Stream | None:
        """The stream of the latest token among some numbers."""
        last = _latest(owners)
        return next((s for s in self.streams if s.first <= last < s.first + s.count * self.rows), None)

    def alike(self, count: int, new: bool) -> Stream | None:
        """A stream of so many tokens, where it is not known which; a `new` one if there is none."""
        known = [s for s in self.streams if s.count == count]
        return known[-1] if known else self._new(count) if new else None

    def _new(self, count: int, *about: Any, **more: Any) -> Stream:
        stream = Stream(self.next, count, *about, **more)
        self.next += count * self.rows
        self.streams.append(stream)
        return stream

    def _tokens(self, t: Tensor) -> bool:
        held = self.held(t)
        return held is not None and bool(held.owners) and _latest(held.owners[0]) >= 0

    def _begin(self, t: Tensor) -> None:
        """Make the places of values (B, ..., C) tokens, or with the rows second."""
        held = self.held(t)
        if not t.requires_grad or t.ndim < 3 or (held is not None and not held.owners):
            return
        lead = t.shape[:-1]
        rows = None if held is None else NOBODY - 1 - held.owners[0][..., 0]
        dim = next((d for d in (0, 1) if lead[d] == self.rows and (rows is None or _counts(rows, d))), None)
        if dim is None:
            return
        count = lead.numel() // self.rows
        stream = self._new(count, self._behind(t))
        numbers = stream.first + torch.arange(count * self.rows, device=t.device).view(self.rows, -1)
        others = [n for d, n in enumerate(lead) if d != dim]
        self.hold(t, Held((numbers.view(self.rows, *others).movedim(0, dim)[..., None].expand(t.shape),)))

    def _behind(self, t: Tensor) -> tuple[Any, ...]:
        """The sources that a value is made of."""
        waiting, seen, found = [t.grad_fn], set(), []
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node in self._sources:
                found.append(node)
            else:
                waiting += [following for following, _ in node.next_functions]
        return tuple(found)

    def _by_vector(self, t: Tensor, out: Any) -> None:
        """Each vector of the result comes from one of t; what has several tokens' entries is a new token."""
        held = self.held(t)
        if held is None or len(held.owners) != 1:
            return
        (owners,) = held.owners
        if owners.stride(-1) and bool((owners != owners[..., :1]).any()):
            merged = self._merged(owners)
            if merged is None:
                return
            owners = merged
            self.hold(t, Held((owners,)))
        made = parts(out)[0]
        self.hold(made, Held((owners[..., :1].expand(made.shape),)))

    def _merged(self, owners: Tensor) -> Tensor | None:
        """Numbers of new tokens for vectors (B, ..., C) whose entries belong to several."""
        old = self.seats(owners)
        if old is None or owners.ndim < 3 or len(owners) != self.rows:
            return None
        places = old.places.reshape(self.rows, -1, owners.shape[-1])
        shares = torch.zeros(*places.shape[:2], old.stream.count + 1, device=owners.device)  # the last is nobody's
        shares.scatter_add_(2, places % (old.stream.count + 1), torch.ones_like(places, dtype=shares.dtype))
        shares = shares[..., :-1]
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1)
        stream = self._new(places.shape[1], (), old.stream, shares)
        numbers = stream.first + torch.arange(stream.count * self.rows, device=owners.device)
        return numbers.view(*owners.shape[:-1], 1).expand(owners.shape)

    def _move(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        moved, *rest = args or [kwargs.get("tensors", kwargs.get("input"))]
        kwargs = {k: v for k, v in kwargs.items() if k not in ("tensors", "input")}
        several = isinstance(moved, (list, tuple))
        given = [t for t in (moved if several else [moved]) if t.numel()]  # a cache may be empty as yet
        each = [self.held(t) for t in given]
        known = [h for h in each if h is not None]
        if len({len(h.owners) for h in known}) != 1 or (len(known) < len(each) and len(known[0].owners) < 2):
            return  # what stands beside is no token that is known: they are counted anew further on
        if name in ("pad", "constant_pad_nd"):
            if kwargs.get("mode", rest[1] if len(rest) > 1 else "constant") not in ("constant", 0, 0.0, None):
                return
            rest, kwargs = [rest[0] if rest else kwargs["pad"]], {"value": NOBODY}

        def there(owners: Any) -> Any:
            return (
                owners[0].reshape(out.shape)
                if name in RESHAPES
                else func(owners if several else owners[0], *rest, **kwargs)
            )

        # scores beside those of tokens (a sink, which takes what attention is left) are nobody's
        pairs = list(zip(each, given, strict=True))
        laid = [
            [torch.full_like(t, NOBODY, dtype=torch.long) if h is None else h.owners[i] for h, t in pairs]
            for i in range(len(known[0].owners))
        ]
        after = [parts(there(owners)) for owners in laid]
        for n, made in enumerate(parts(out)):
            self.hold(made, Held(tuple(o[n] for o in after), known[0].root))

    def _one_by_one(self, name: str, given: Sequence[Tensor], out: Any) -> None:
        """Entries stay where they are; where tokens meet (a residual path), they are what was there first."""
        known = [h for h in map(self.held, given) if h is not None]
        fit = [h for h in known if h.owners and _fits(h.owners[0].shape, out.shape)]
        most = max((len(h.owners) for h in fit), default=0)
        best = [h for h in fit if len(h.owners) == most]
        if len(best) > 1:
            tokens = [h for h in best if _latest(h.owners[0]) >= 0] or best
            best = [min(tokens, key=lambda h: _latest(h.owners[0]))]
        owners = tuple(o.expand(out.shape) for o in best[0].owners) if best else ()
        root = next((h.root for h in known if h.root is not None), None)
        self.hold(out, Held(owners, root))

    def _multiply(self, a: Tensor, b: Tensor, left: Lay, right: Lay, out: Tensor) -> None:
        """Vectors times vectors have who asks and who is asked; attention times vectors belongs to who asks."""
        laid = [
            (h.owners, lay) for h, lay in ((self.held(a), left), (self.held(b), right)) if h is not None and h.owners
        ]
        asking = next(((o, lay) for o, lay in laid if len(o) == 2), None)
        if asking is not None:
            laid = [asking]
        elif len(laid) == 1:
            if any(self.held(t) is None and self._behind(t) for t in (a, b)):
                return  # of tokens that were lost on the way; what does not follow from the values is learnt
            (owners,), lay = laid[0]
            if bool((lay(owners).expand(out.shape)[..., :1] != lay(owners)).any()) and lay is left:
                return
        if laid:
            self.hold(out, Held(tuple(lay(o[0]).expand(out.shape) for o, lay in laid)))


def _latest(owners: Tensor) -> int:
    """The highest number among some; a part of a model may be given no tokens at all."""
    return int(owners.max()) if owners.numel() else NOBODY


def _counts(rows: Tensor, dim: int) -> bool:
    """Whether numbers of rows are counted by a dimension."""
    n = rows.shape[dim]
    return bool((rows.movedim(dim, -1) == torch.arange(n, device=rows.device)).all())


def _fits(shape: torch.Size, whole: torch.Size) -> bool:
    """Whether a shape broadcasts to another."""
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(whole), strict=False))
