"""DeepLIFT's RevealCancel rule: positive and negative contributions to a function go through it apart.

A layer with weights tells what speaks for its result and what against it, dz = p + n: the sums of the positive and of
the negative w_i (x_i - x0_i). A function of z then has, as means over both orders in which they may come,

    dy+ = (f(z0 + p) - f(z0) + f(z0 + n + p) - f(z0 + n)) / 2,    dy- likewise,

and multipliers dy+ / p and dy- / n, so that contributions that cancel in z are not lost where f is flat. Sums, averages
and scalings (a batch norm, a residual branch) hand on what is positive and negative in their terms, moves of data all
that they are told. Functions of what tells nothing, and other operations, have the rescale rule: it is the same where
one of p, n is zero.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from enodo.core.operations import Bound, is_live, spelling, tensors_in
from enodo.core.tables import Decompose, Depends, Op, Plain, Pull, Rule, Table, Treatment, closed

from . import elementwise, layer
from .differences import derivative, halfway, reference
from .rescale import RESCALE

_LINK = "_positive_and_negative"
# Linear in one factor, where the others are constants; in each entry of the result these have weights of both signs.
_WEIGHTED = (*layer.WEIGHTED, "einsum", "tensordot", "inner")
# They add up, or scale.
_SUMS = (
    "add sub rsub neg sum mean cumsum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d"
    " adaptive_avg_pool2d adaptive_avg_pool3d interpolate mul div batch_norm affine cat stack"
).split()
_MOVES: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "pad": F.pad,
    **{
        name: getattr(Tensor, name)
        for name in (
            "view reshape flatten unflatten squeeze unsqueeze transpose t permute movedim contiguous clone expand"
            " select narrow flip roll positive to float double"
        ).split()
    },
}


@dataclass
class _Link:
    """Between what tells of positive and negative contributions to a value and the functions of it."""

    plus: Tensor
    minus: Tensor
    version: int = -1  # of the result; another one once code of the model has written into it
    extra: Tensor | None = None  # in a backward pass: what the multiplier of `minus` has beyond that of `plus`
    onward: Callable[[Tensor], None] | None = None  # where data were moved: tells the link of what they were before

    def add(self, extra: Tensor) -> None:
        """Be told of a difference between the multipliers of `minus` and `plus`."""
        if self.onward is not None:
            self.onward(extra)
        else:
            self.extra = extra if self.extra is None else self.extra + extra

    def taken(self) -> Tensor | None:
        """All that was told, which is told once."""
        extra, self.extra = self.extra, None
        return extra


def _link_of(t: Tensor) -> _Link | None:
    link: _Link | None = getattr(t, _LINK, None)
    return link if link is not None and link.version == t._version else None


class RevealCancel:
    """Follows one pass: what a value tells waits on it for the function that comes next."""

    def __init__(self) -> None:
        self.told: _Link | None = None  # of a result that is not there yet
        self.last: tuple[str, _Link] | None = None  # the operation that has told last, and what

    def before_write(self) -> None:
        """Versions tell."""

    def after(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        """Leave what is told of a value on what it was moved or written to."""
        last, self.last = self.last, None
        if not isinstance(out, Tensor) or not args:
            return
        if last is not None and name == last[0]:
            if out is args[0]:  # in place
                self.leave(last[1], out)
            self.last = last
        elif name in _MOVES and (link := _link_of(args[0])) is not None:
            self.leave(_moved(link, Bound(_MOVES[name], args, kwargs)), out)

    def made(self, call: Bound, rule: Rule, out: Any) -> None:
        """Leave what an operation has told on its result."""
        if self.told is not None:
            self.leave(self.told, out)
            self.last, self.told = (spelling(call.func).name, self.told), None

    def leave(self, link: _Link, t: Tensor) -> None:
        """Leave on a value what is told of it."""
        link.version = t._version
        setattr(t, _LINK, link)

    def layer(self, op: Op) -> Pull:
        """A sum of x_i w_i: which of the contributions are positive, and which negative."""
        i, j = layer.roles(op.name, op.call)[:2] if op.name in layer.WEIGHTED else _of_two(op)
        at = reference(op).xs
        x, w, dx = op.xs[i], halfway(op.xs[j], at[j]).to_dense(), op.xs[i] - at[i]

        def put(some: Tensor, weights: Tensor) -> list[Tensor]:
            """Operands, without a bias."""
            return [some if k == i else weights if k == j else torch.zeros_like(t) for k, t in enumerate(op.xs)]

        up, down, more, less = dx.clamp(min=0), dx.clamp(max=0), w.clamp(min=0), w.clamp(max=0)
        plus = op.call(*put(up, more)) + op.call(*put(down, less))
        self.told = link = _Link(plus, op.call(*put(up, less)) + op.call(*put(down, more)))

        def back(g: Tensor, weights: Tensor) -> Tensor:
            return op.call.pulled_at(put(x, weights), op.live, g)[i]  # type: ignore[return-value]  # it is live

        def pull(gy: Tensor) -> list[Tensor | None]:
            extra = link.taken()
            if extra is None:
                g = back(gy, w)
            else:
                minus = gy + extra
                g = _by_sign(dx, back(gy, more) + back(minus, less), back(gy, less) + back(minus, more))
            return [g if k == i else None for k in range(len(op.xs))]

        return pull

    def sum(self, op: Op) -> Pull:
        """A sum of terms, each of which hands on what it is told to be made of, or what it is itself."""
        terms = [k for k, live in enumerate(op.live) if live]
        steps = {k: op.xs[k] - reference(op).xs[k] for k in terms}
        links = {k: _link_of(op.call.operands[k]) for k in terms}
        none = [torch.zeros_like(x) if live else x for x, live in zip(op.xs, op.live, strict=True)]
        still = op.call(*none)

        def handed(k: int, part: Tensor) -> Tensor:
            found: Tensor = op.call(*[part if i == k else t for i, t in enumerate(none)]) - still
            return found

        parts = {}
        for k in terms:
            link, dx = links[k], steps[k]
            up, down = (link.plus, link.minus) if link is not None else (dx.clamp(min=0), dx.clamp(max=0))
            parts[k] = handed(k, up), handed(k, down)
        every = [t for both in parts.values() for t in both]
        plus, minus = (torch.stack([t.clamp(**bound) for t in every]).sum(0) for bound in ({"min": 0}, {"max": 0}))
        self.told = mine = _Link(plus, minus)

        def pull(gy: Tensor) -> list[Tensor | None]:
            extra = mine.taken()
            if extra is None:
                return op.vjp(gy)
            found: list[Tensor | None] = [None] * len(op.xs)
            for k in terms:
                gs = [op.vjp(torch.where(of, gy, gy + extra))[k] for of in (parts[k][0] >= 0, parts[k][1] > 0)]
                rising, falling = (torch.zeros_like(op.xs[k]) if g is None else g for g in gs)
                link = links[k]
                if link is not None:
                    link.add(falling - rising)
                found[k] = rising if link is not None else _by_sign(steps[k], rising, falling)
            return found

        return pull


def _by_sign(dx: Tensor, rising: Tensor, falling: Tensor) -> Tensor:
    """The multiplier of what rose, of what fell, and between them where nothing changed."""
    return torch.where(dx > 0, rising, torch.where(dx < 0, falling, (rising + falling) / 2))


def _of_two(op: Op) -> tuple[int, int]:
    i = op.live.index(True)
    return i, 1 - i


def _moved(link: _Link, call: Bound) -> _Link:
    """What is told of moved data."""
    alone = [call.operands[0].detach()]

    def onward(extra: Tensor) -> None:
        link.add(call.pulled_at(alone, [True], extra)[0])  # type: ignore[arg-type]  # it is live

    return _Link(call(link.plus), call(link.minus), onward=onward)


def _apart(rescale: Rule) -> Rule:
    """The rule for a function of one number."""

    @closed
    def rule(op: Op) -> Pull:
        i = op.live.index(True)
        link = _link_of(op.call.operands[i])
        if link is None or sum(op.live) != 1:
            return rescale(op)
        return _both(op, i, link)

    return rule


def _both(op: Op, i: int, link: _Link) -> Pull:
    """Multipliers of what is positive and of what is negative."""
    x0, y0, y = reference(op).xs[i], reference(op).y, op.y
    p, n, count = link.plus, link.minus, len(op.xs)

    def f(t: Tensor) -> Tensor:
        found: Tensor = op.call(*[t if k == i else x for k, x in enumerate(op.xs)])
        return found

    with_p, with_n = f(x0 + p), f(x0 + n)
    slopes = []
    for part, alone, rest, start in ((p, with_p - y0, y - with_n, x0 + n), (n, with_n - y0, y - with_p, x0 + p)):
        near = part.abs() <= torch.finfo(part.dtype).eps ** 0.75
        slope = (alone + rest) / 2 / torch.where(near, 1, part)
        if near.any():
            slope = torch.where(near, (derivative(op, i, x0) + derivative(op, i, start)) / 2, slope)
        slopes.append(slope)

    def pull(gy: Tensor) -> list[Tensor | None]:
        plus, minus = (gy * slope for slope in slopes)
        link.add(minus - plus)
        return [plus if k == i else None for k in range(count)]

    return pull


def reveal_cancel() -> Table:
    """The table of one pass: RevealCancel for functions of what tells of its contributions, else the rescale rule."""
    follow = RevealCancel()

    def weighted(name: str) -> Depends:
        def choose(*args: Any, **kwargs: Any) -> Treatment:
            floats = [t for _, t in tensors_in(args, kwargs) if t.is_floating_point()]
            if name in layer.WEIGHTED:
                call = Bound(getattr(F, name, None) or getattr(torch, name), args, kwargs)
                if layer.has_live_bias(name, call):
                    return Decompose(lambda *_, **__: layer.with_bias_apart(name, call))
                alone = sum(map(is_live, floats)) == 1 and is_live(floats[layer.roles(name, call)[0]])
            else:
                alone = sum(map(is_live, floats)) == 1 and len(floats) == 2
            return follow.layer if alone else _resolved(name, args, kwargs)

        return Depends(choose)

    def summed(name: str) -> Depends:
        def choose(*args: Any, **kwargs: Any) -> Treatment:
            found = _resolved(name, args, kwargs)
            real = not any(t.is_complex() for _, t in tensors_in(args, kwargs))
            return follow.sum if isinstance(found, Plain) and real else found

        return Depends(choose)

    def function(name: str) -> Depends:
        def choose(*args: Any, **kwargs: Any) -> Treatment:
            found = _resolved(name, args, kwargs)
            return _apart(found) if callable(found) else found

        return Depends(choose)

    apart = {name: function(name) for name in elementwise.KINKED | elementwise.SMOOTH | elementwise.SINGULAR}
    entries = {**RESCALE.entries, **apart, **{name: weighted(name) for name in _WEIGHTED}}
    return Table(entries | {name: summed(name) for name in _SUMS}, compares=True, trail=follow)


def _resolved(name: str, args: Any, kwargs: Any) -> Treatment:
    usual = RESCALE.entries[name]
    return usual.choose(*args, **kwargs) if isinstance(usual, Depends) else usual
