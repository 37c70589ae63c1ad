"""`Target`: which number of the model's output is explained.

| target | score of a row, for an output y of shape (B, ...) |
|---|---|
| None | y itself, of shape (B,) or (B, 1) |
| int i | y[b, i] |
| tuple (i, j) | y[b, i, j]; slices select a box, summed: (3, slice(0, 9), slice(0, 9)) |
| list of ints, tensor (B,) | y[b, t[b]], one index a row; a list of tuples, or a tensor (B, d), indexes d dimensions |
| bool tensor | the sum of y where it is true; its shape is that of one row, or of y |
| "predicted" | the largest y[b, :] (class dimension 1; per position it is ambiguous and refused) |
| callable | target(output) of shape (B,), or (B, T) for several; it is given the raw output of the model |
| "all" | every y[:, i], T at once |
| Each([...]) | several of the above at once |

A callable is called within the pass: methods with rules (DeepLIFT, LRP ...) treat its operations like the model's, so
that attributions add up to the score it makes, of log-probabilities or of a loss.

Several targets share the forward passes; results then have a leading dimension T, equal to a loop over the targets.
Nested outputs: the `logits` entry, or the only floating-point tensor; a callable chooses otherwise. Of a detector,
which answers a list with a dict for each picture, lambda found: torch.stack([each["scores"].max() for each in found])
is the score of the surest box in each; its pictures are the rows of one tensor, torch.stack(pictures).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import tree as trees
from .errors import BadArgument, BadType, describe, refuse
from .given import array_of
from .lasting import dataclass
from .picked import columns, indexed, largest


@dataclass(frozen=True, eq=True)
class Each:
    """Several targets explained in one call: `Each([0, 3, "predicted"])`."""

    targets: Sequence[Any]


@dataclass(frozen=True, eq=False)
class Mask:
    """A region of dense outputs; `where` is for one row's output, or for all rows, of which `rows` are meant."""

    where: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Told:
    """An output, and what the callables of a target made of it while its pass went on."""

    output: Any
    by: Mapping[Callable[[Any], Any], Any]


@dataclass(frozen=True, eq=False)
class Selector:
    """A target made ready: output -> score (B,), or (T, B) where `many`."""

    spec: Any
    rows: int
    pick: Callable[[Any, int], Tensor]
    many: bool = False

    def __call__(self, output: Any, tiles: int = 1) -> Tensor:
        """The scores of an output whose rows are the question's, repeated `tiles` times."""
        rows = self.rows * tiles
        try:
            score = self.pick(output, tiles)
        except BadArgument:
            if tiles > 1:  # say the same of as many rows as the user gave
                self.pick(trees.map_tree(lambda t: _first(t, self.rows), output), 1)
            raise
        if not score.is_floating_point():
            if score.is_complex():
                given = f"{describe(self.spec)}, which selects complex numbers"
                instead = "Give a callable, for example target=lambda out: out.abs()[:, 1]."
                refuse("target", given, "real scores", instead)
            score = score.to(torch.float64)  # counts and decisions, of which differences and means are to be taken
        if score.shape == (rows,):
            return score
        if score.shape[-1:] != (rows,) and (self.many or score.numel() != rows):
            given = f"{describe(self.spec)}, which selects shape {tuple(score.shape)}"
            points = f", {tiles} points of {self.rows}" if tiles > 1 else ""
            refuse("target", given, f"one score for each of the {rows} rows of a pass{points}")
        return score if self.many or score.numel() != rows else score.reshape(rows)


def _first(t: Any, rows: int) -> Any:
    return t[:rows] if isinstance(t, Tensor) and t.ndim else t


def tensor_of(output: Any) -> Tensor:
    """The tensor that holds the scores in a possibly nested output."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Told):
        return tensor_of(output.output)
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        logits: Tensor = output["logits"]
        return logits
    if hasattr(output, "__array__"):  # of numpy, as what computes outside torch answers
        return array_of(output, "target")
    found = [(p, leaf) for p, leaf in trees.leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if len(found) == 1:
        return found[0][1]
    expected = "one tensor to take the score from"
    if not found:
        instead = "Give a callable that makes one, for example target=lambda out: torch.as_tensor(out)[:, 1]."
        refuse("target", f"an output without any: {describe(output)}", expected, instead)
    where = ", ".join("output" + trees.spell(p) for p, _ in found[:6])
    given = f"an output with {len(found)} floating-point tensors ({where})"
    refuse("target", given, expected, "Give a callable, for example target=lambda out: out[0][:, 1].")


def prepare(target: Any, rows: int) -> Any:
    """A target of any spelling, checked: None, a name, a callable, a tuple, a LongTensor (rows, d), a Mask, an Each."""
    if type(target) is int:
        return (target,)
    if isinstance(target, Each):
        if isinstance(target.targets, str) or not isinstance(target.targets, Iterable):
            refuse("target", f"Each({target.targets!r})", "Each([...]), a list of targets", kind=BadType)
        several = list(target.targets)
        if not several:
            refuse("target", "Each([])", "at least one target")
        return Each([prepare(t, rows) for t in several])
    if isinstance(target, str):
        if target not in ("all", "predicted"):
            refuse("target", repr(target), '"predicted" or "all", an index, a mask or a callable')
        return target
    if isinstance(target, Tensor) and target.dtype == torch.bool and target.ndim:
        if not target.any():
            refuse("target", f"a mask of shape {tuple(target.shape)} that is False everywhere", "one with a place")
        return Mask(target, torch.arange(rows))
    return target if callable(target) else _index(target, rows)


def selector(target: Any, rows: int) -> Selector:
    """The Selector for a prepared target."""
    if target is None or isinstance(target, (tuple, Tensor)):
        return Selector(target, rows, lambda y, k: indexed(tensor_of(y), target, k))
    if isinstance(target, Each):
        parts = [selector(t, rows) for t in target.targets]
        return Selector(target, rows, lambda y, k: torch.cat([p(y, k).reshape(-1, rows * k) for p in parts]), True)
    if isinstance(target, Mask):
        return Selector(target, rows, lambda y, k: _masked(tensor_of(y), target, k))
    if isinstance(target, str) and target == "all":
        return Selector(target, rows, lambda y, k: columns(tensor_of(y)), True)
    if isinstance(target, str):
        return Selector(target, rows, lambda y, k: largest(tensor_of(y)))
    return Selector(target, rows, lambda y, k: _called(target, y, rows * k))


def teller(target: Any) -> Callable[[Any], Told] | None:
    """What has the callables of a prepared target take their scores from an output; None where it has none."""
    fns = _callables(target)
    return (lambda output: Told(output, {fn: fn(output) for fn in fns})) if fns else None


def _callables(target: Any) -> list[Callable[[Any], Any]]:
    if isinstance(target, Each):
        return [fn for t in target.targets for fn in _callables(t)]
    return [target] if callable(target) else []


def settle(target: Any, output: Any, rows: int) -> Any:
    """`target` with "predicted" replaced by the classes predicted in the first rows of this output, one a row."""
    if isinstance(target, str) and target == "predicted":
        y = tensor_of(output)
        if len(largest(y)) < rows:
            refuse("target", f'"predicted" with an output of shape {tuple(y.shape)}', f"one with {rows} rows, as given")
        return None if y.ndim < 2 else y[:rows].argmax(1).reshape(rows, 1)
    if isinstance(target, Each):
        return Each([settle(t, output, rows) for t in target.targets])
    return target


def unsettled(target: Any) -> bool:
    """Whether the target depends on the output at the inputs."""
    if isinstance(target, Each):
        return any(map(unsettled, target.targets))
    return isinstance(target, str) and target == "predicted"


def take(target: Any, index: Tensor) -> Any:
    """The prepared target of some of the rows."""
    if isinstance(target, Each):
        return Each([take(t, index) for t in target.targets])
    if isinstance(target, Mask):
        return Mask(target.where, target.rows[index])
    return target[index] if isinstance(target, Tensor) else target


def _index(target: Any, rows: int) -> Any:
    """A tuple of ints and slices (the same for every row), a LongTensor (rows, d), or None."""
    if target is None or (isinstance(target, tuple) and all(isinstance(i, slice) or _is_int(i) for i in target)):
        return target or None
    if _is_int(target):
        return (int(target),)
    if isinstance(target, (list, Tensor)) or hasattr(target, "__array__"):
        try:
            index = torch.as_tensor(target)
        except (TypeError, ValueError, RuntimeError):
            refuse("target", target, "one int or tuple of ints a row", kind=BadType)
        mixed = isinstance(target, list) and any(isinstance(i, bool) for _, i in trees.leaves(target))
        if mixed or index.is_floating_point() or index.dtype == torch.bool:
            refuse("target", target, "integer indices", "Write target.long() for class numbers.", BadType)
        if index.numel() == 1:
            return (int(index),)
        if index.ndim > 2 or len(index) != rows:
            refuse("target", target, f"one index for each of the {rows} rows, or a single one")
        return index.long().reshape(rows, -1)
    known = "None, an int, a tuple of ints and slices, a list, a tensor, a mask, a name or a callable"
    refuse("target", target, known, kind=BadType)


def _is_int(value: Any) -> bool:
    """Whether a value is one whole number; arrays have `__index__` too, and refuse it unless they hold a single one."""
    if isinstance(value, (bool, Tensor)):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _masked(y: Tensor, mask: Mask, tiles: int) -> Tensor:
    where = mask.where.to(y.device)
    if where.ndim == y.ndim and len(where) > 1:
        where = where[mask.rows.to(y.device)].repeat(tiles, *[1] * (where.ndim - 1))
    try:
        return torch.where(where, y, 0).reshape(len(y), -1).sum(1)
    except (RuntimeError, IndexError):
        given = f"a mask of shape {tuple(mask.where.shape)} for an output of shape {tuple(y.shape)}"
        refuse("target", given, "a mask over one row's output, or over all rows")


def _called(fn: Callable[[Any], Any], output: Any, rows: int) -> Tensor:
    score = output.by[fn] if isinstance(output, Told) else fn(output)
    if not isinstance(score, Tensor):
        refuse(
            "target",
            f"a callable that returned {describe(score)}",
            f"a tensor of shape ({rows},) or ({rows}, T)",
            kind=BadType,
        )
    if score.ndim == 2 and len(score) == rows and score.shape[1] != 1:
        return score.T
    if score.numel() != rows:
        given = f"a callable that returned shape {tuple(score.shape)}"
        counted = f"The inputs have {rows} rows by their first dimension; pictures in a list are torch.stack(list)."
        refuse("target", given, f"({rows},), one score a row, or ({rows}, T)", counted)
    return score.reshape(rows)
