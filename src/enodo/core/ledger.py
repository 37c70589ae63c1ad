"""`Ledger`: what the operations of one pass worked on, kept for another pass to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BadArgument
from .operations import Bound, caller
from .transforms import bare, is_batched, shown, storage_of


@dataclass
class Entry:
    """One operation of a pass: its operands and its result, as they were then."""

    name: str
    xs: list[Tensor]
    fixed: list[Tensor]  # masks and indices among the arguments
    results: list[Tensor]  # empty where its rule does not read it
    aux: tuple[Tensor, ...]  # further results that carry no gradient, such as the indices of a maximum
    readers: int = 0  # the rows for each of which an entry of one row stands; 0 where it has as many itself

    @property
    def y(self) -> Tensor:
        """The result."""
        return self.results[0]

    def same_shape(self, xs: list[Tensor]) -> bool:
        """Whether these operands could be compared with those."""
        return [x.shape for x in xs] == [x.shape for x in self.xs]

    def broadcasts(self, xs: Sequence[Tensor]) -> bool:
        """Whether arithmetic on entries, alone or of one row, needs no copies for each of these operands' rows."""
        for x, x0 in zip(xs, self.xs, strict=True) if self.readers else ():
            shape, one = x.shape, x0.shape
            if shape != one and not (shape[:1] == (self.readers,) and one == (1, *shape[1:])):
                return False
        return True

    def lay_last(self) -> None:
        """Lay pictures (B, C, H, W) with channels last, as the gradient does that is to meet them."""
        for values in (self.xs, self.results):
            values[:] = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in values]


class Unpairable(Exception):
    """The rows of two passes cannot be told apart from what goes with them; the sentence says where."""


class Ledger:
    """The ruled operations of a pass in their order; filled by one pass, read in the same order by another.

    With `keep` the values stay in the graph that computed them, and may be read again; otherwise an entry is given up
    as soon as it is read. A ledger of one row may be read by a pass of more, each of which it stands for.
    """

    def __init__(self, keep: bool = False, readers: int = 0) -> None:
        self.keep = keep
        self.readers = readers  # rows of the pass that reads a ledger of one row; 0 where it has as many itself
        self.entries: list[Entry | None] = []
        self.read = 0
        self._where: dict[int, list[tuple[int, str, int]]] = {}  # storage -> number, list and slot of what lies in it
        self._looked = 0  # how many of the entries that tells about

    def add(self, call: Bound, name: str, out: tuple[Tensor, ...], needs_result: bool) -> None:
        """Write down an operation that has just been done."""
        xs, y, aux = call.operands, out[0], out[1:]
        if not self.keep:
            xs, y = [x.detach() for x in xs], y.detach()
        entry = Entry(name, list(xs), call.fixed, [y] if needs_result else [], aux)
        self.entries.append(entry)

    def before_write(self, t: Tensor) -> None:
        """Take copies of what code of the model is about to overwrite, in this pass or in one that reads it."""
        for number in range(max(self._looked, self.read), len(self.entries)):
            for name in ("xs", "fixed", "results"):
                for slot, of in enumerate(getattr(self.entries[number], name)):
                    self._where.setdefault(storage_of(of), []).append((number, name, slot))
        self._looked = len(self.entries)
        for number, name, slot in self._where.pop(storage_of(bare(t)), ()):
            if (entry := self.entries[number]) is not None:
                holder = getattr(entry, name)
                holder[slot] = holder[slot].clone()

    def next(self, name: str, xs: list[Tensor]) -> Entry:
        """The entry of the operation that is about to be done."""
        entry = self.entries[self.read] if self.read < len(self.entries) else None
        if self.readers and (entry is None or entry.name != name):
            raise Unpairable("other operations at the baseline than at the inputs")
        if entry is None or entry.name != name or not (self.readers or entry.same_shape(xs)):
            there = f"{entry.name!r} on {_shapes(entry.xs)}" if entry is not None else "no further operation"
            raise BadArgument(
                "model",
                f"one that does {name!r} on {_shapes(xs)} at {caller()} for the inputs, and {there} for the baseline",
                "the same operations for both, so that they can be compared one by one",
                "Explain a part of the model without that branch (wrt, of), or use integrated_gradients.",
            )
        if not self.keep:
            self.entries[self.read] = None
        self.read += 1
        entry.readers = self.readers
        return entry


def _shapes(xs: list[Tensor]) -> str:
    return " and ".join(str(tuple(x.shape)) for x in xs)


@dataclass
class Layout:
    """Of `size` rows one, for each of the `rows` of another pass.

    `index` says which; several are shown one by one within the `torch.vmap` of a `level`. Where the rows of a value
    lie is seen by the two passes' having different numbers of them.
    """

    rows: int
    size: int = 1
    index: range = range(1)
    level: int = 0
    merged: bool = False  # whether rows shared a dimension with others (the heads of attention); taken for the outer

    def of(self, other: Tensor, like: Tensor) -> Tensor:
        """`other` with the shape of its counterpart, without a copy where the rows have a dimension."""
        shape, rows = like.shape, self.rows
        if other.shape == shape:  # no rows, or one of both
            return other
        if self.size == 1 and shape[0] == rows and other.shape == (1, *shape[1:]):  # quickly, what is usual
            return other.expand(shape)
        d = next((d for d, (a, b) in enumerate(zip(shape, other.shape, strict=False)) if a != b), 0)
        each = shape[d] // rows if shape else 0
        expected = torch.Size([*shape[:d], each * self.size, *shape[d + 1 :]])
        if not each or rows * each != shape[d] or other.shape != expected:
            raise Unpairable(f"values of shape {tuple(shape)} at the inputs, {tuple(other.shape)} at the baselines")
        if each > 1:
            other, self.merged = other.unflatten(d, (self.size, each)), True
        some = other.narrow(d, self.index.start, len(self.index))
        one = shown(some.unsqueeze(d), d + 1, self.level) if self.level else some
        if each == 1:
            return one.expand(shape)
        whole: Tensor = one.expand(*shape[:d], rows, each, *shape[d + 1 :])
        return whole.flatten(d, d + 1)

    def beside(self, entry: Entry, xs: Sequence[Tensor], fixed: Sequence[Tensor], out: Sequence[Tensor]) -> Entry:
        """An entry laid out like its counterpart: operands, masks, results."""
        y, *aux = out
        return Entry(
            entry.name,
            list(map(self.of, entry.xs, xs)),
            list(map(self.of, entry.fixed, fixed)),
            [self.of(t, y) for t in entry.results],
            tuple(map(self.of, entry.aux, aux)),
            self.rows,
        )


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers; quick where they are the same memory."""
    if a.shape != b.shape:
        return False
    if is_batched(a) or is_batched(b):
        return bool(bare(a == b).all())
    if a.layout != torch.strided or b.layout != torch.strided:
        return a.layout == b.layout and all(map(same, _made_of(a), _made_of(b)))
    there = a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and storage_of(a) != 0
    return there or torch.equal(a, b)


def _made_of(t: Tensor) -> tuple[Tensor, ...]:
    """The dense tensors that a sparse one is made of: its places and its values."""
    if t.layout == torch.sparse_coo:
        return t._indices(), t._values()
    if t.layout in (torch.sparse_csr, torch.sparse_bsr):
        return t.crow_indices(), t.col_indices(), t.values()
    return t.ccol_indices(), t.row_indices(), t.values()
