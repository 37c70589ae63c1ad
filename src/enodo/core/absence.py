"""`Absence`: what stands in for a feature that is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import tree as trees
from .beside import beside, cut
from .errors import BadType, describe, refuse
from .given import count_rows, tensors
from .removal import Removal
from .soften import blurred, levelled
from .values import Values, is_continuous

if TYPE_CHECKING:
    from .asked import Asked

Paint = Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class Absence:
    """What stands in for a feature that is absent, given as `baseline`.

    | baseline | where a feature is absent there is |
    |---|---|
    | None | zero at `wrt`, also at a layer; token 0 of token ids |
    | a number, tensor, structure or function | that (see `core.given.baseline_like`); of B rows one for each |
    | `Absence.at(value)` | a number, tensor or structure like the value at `wrt`, set there |
    | `Absence.blurred(sigma)` | the input, each channel blurred over its places |
    | `Absence.mean()`, `Absence.mean(data)` | each channel's mean over its places; the mean row of `data` |
    | `Absence.background(rows)` | each row of a background in turn: the score is the mean over them |
    | `Absence.permuted(seed)` | the value of another row of the batch |
    | `Absence.masked()` | a token hidden by the attention mask |
    | `Absence.dropped()` | nothing: the sequence closes up over tokens taken out |
    | `Absence.painted(fn)` | what fn(values, absent) puts there; both (rows, ...) in the structure at `wrt` |

    To a method that switches features off, a tensor of B rows is no background: row b stands in for row b of the inputs
    alone, also where B is the size of a background that was meant; write `Absence.background(rows)` for the mean over
    them. At a layer the value there at the baseline stands in. Methods that compare with a baseline but switch nothing
    off take those that are one baseline (or a background).
    """

    name: str = "zero"
    plain: Any = None  # a baseline for `baseline_like`
    many: bool = False  # whether `plain` is a background: R rows, each as likely as the others
    samples: int | None = None  # how many rows of the background each row draws, where not all
    value: Any = None  # set at `wrt` itself
    paint: Paint | None = None
    removal: Removal | None = None  # of tokens

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    @staticmethod
    def of(spec: Any, needs: frozenset[str]) -> Absence:
        """The Absence that a user gave as baseline to a method with these needs."""
        if spec is None:
            return _ZERO
        if not isinstance(spec, Absence):
            return Absence("baseline", spec)
        switches = "absence" in needs or not needs & {"baseline", "background"}
        whole = spec.plain is not None and spec.samples is None and (not spec.many or "background" in needs)
        if not switches and not whole:
            kinds = ".background" if "background" in needs else ".blurred, .mean, .permuted"
            expected = f"one that is a baseline ({kinds}), for a method that switches nothing off"
            refuse("baseline", f"Absence: {spec}", expected)
        return spec

    @staticmethod
    def at(value: Any) -> Absence:
        """A value at `wrt` itself."""
        return Absence("value at wrt", value=value)

    @staticmethod
    def blurred(sigma: float = 8.0) -> Absence:
        """The input under a Gaussian of standard deviation `sigma`, in places: all dimensions after the channels."""
        if isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not 0 < sigma < float("inf"):
            refuse("sigma", sigma, "a positive number of places", kind=BadType)
        return Absence(f"blurred by {sigma:g}", lambda inputs: _each(inputs, lambda t: blurred(t, float(sigma))))

    @staticmethod
    def mean(data: Any = None) -> Absence:
        """The mean over the places of each channel, or over the rows of `data`."""
        if data is None:
            return Absence("mean of each channel", lambda inputs: _each(inputs, levelled))
        rows = tensors(data, "data")
        count_rows(rows)
        return Absence("mean of data", _each(rows, lambda t: t.mean(0)))

    @staticmethod
    def background(rows: Any, samples: int | None = None) -> Absence:
        """Rows like the inputs; with `samples`, each row explained draws that many of them, by its own stream."""
        given = tensors(rows, "baseline")
        size = count_rows(given)
        if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
            refuse("samples", samples, "a whole number from 1", kind=BadType)
        return Absence(f"background of {size} rows", given, True, samples)

    @staticmethod
    def permuted(seed: int = 0) -> Absence:
        """Each row of the batch has the values of another one, which none shares with it."""

        def plain(inputs: Any) -> Any:
            rows = count_rows(inputs)
            if rows < 2:
                refuse("baseline", "Absence.permuted of 1 row", "2 or more", "Give Absence.background(rows).")
            order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
            index = torch.empty_like(order)
            index[order] = order.roll(1)
            return trees.map_tree(lambda t: t[index.to(t.device)] if isinstance(t, Tensor) and t.ndim else t, inputs)

        return Absence("permuted", plain)

    @staticmethod
    def masked(mask: str = "attention_mask") -> Absence:
        """A token has mask 0; `mask` names the model's argument, of 1 and 0, (B, L) as the token ids."""
        return Absence("masked", removal=Removal(mask, close=False))

    @staticmethod
    def dropped(mask: str = "attention_mask") -> Absence:
        """As masked, and what follows a token moves up to its place: positions are those of a sequence without it."""
        return Absence("dropped", removal=Removal(mask, close=True))

    @staticmethod
    def painted(fn: Paint) -> Absence:
        """What a function fills in, given the values and where they are absent (bool)."""
        if not callable(fn):
            refuse("fn", fn, "a function of (values, absent)", kind=BadType)
        return Absence(f"painted by {getattr(fn, '__name__', type(fn).__name__)}", paint=fn)

    def stand_ins(self, q: Asked) -> Values:
        """What stands in at `wrt`, (R, 1 or B, ...), for R that are equally likely."""
        if self.value is not None:
            return Values(_filled(q, *part) for part in beside(q, self.value, "baseline"))
        if self.plain is None:
            if not all(is_continuous(t) for t in q.x.leaves) and self.removal is None:
                q.log.note("Absent token ids are 0; name another, such as that of a mask token, as baseline.")
            return q.x.map(lambda t: torch.zeros_like(t[:1])[None])
        if not self.many:
            return q.x0.map(lambda t: t[None])
        size = len(q.x0.leaves[0])
        if self.samples is None or self.samples >= size:
            return q.x0.map(lambda t: t[:, None])
        streams = q.streams
        picked = torch.stack([streams.integers(size) for _ in range(self.samples)])
        return q.x0.map(lambda t: t[picked.to(t.device)])


_ZERO = Absence()


def _each(inputs: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    """`fn` of each floating-point tensor; what else there is beside them has no such baseline."""
    if not any(isinstance(t, Tensor) and is_continuous(t) for _, t in trees.leaves(inputs)):
        instead = "Give a token id or a row of them, or Absence.background(rows)."
        refuse("baseline", f"a mean or a blur of {describe(inputs)}", "floating-point numbers to take it of", instead)
    return trees.map_tree(lambda t: fn(t) if isinstance(t, Tensor) and is_continuous(t) else None, inputs)


def _filled(q: Asked, value: Any, t: Tensor, name: str) -> Tensor:
    """A value at `wrt` as (1, 1 or B, ...)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
        refuse(name, value, "a number or a tensor", kind=BadType)
    if not isinstance(value, Tensor):
        return torch.full_like(t[:1], value)[None]
    whole = cut(q, value.to(t.device, t.dtype), t, name)
    return whole.expand(len(whole), *t.shape[1:])[None]
