"""The memory contract: how many rows one forward pass may have.

With an int, that many. With "auto", the first pass with a graph is measured and decides. On a CPU a handful of rows
fills the machine: more gain no speed, and once a single tensor outgrows what the C allocator keeps (32 MiB, see
`remembering`), every pass pays for its pages anew. So a pass gets as many rows as fit a small working set, at least
`FEW`, at most as many as keep its largest tensor below that size. On a GPU it may take a share of the free memory. Out
of memory halves the number.

Passes without a graph keep nothing, so that many of them may have other rows than that: as many as keep the largest
tensor within the caches, at least `FEW` unless three such tensors are more than the C allocator keeps. The first of
them is measured, where there are more to come than one may have. Passes in part (`partly`) hold little a row and cost
more an operation: they have at least `SEVERAL`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

import torch

from .errors import BadType, describe, refuse

if TYPE_CHECKING:
    from .watch import Load

WORKING_SET = 16 << 20  # bytes of activations that one pass on a CPU aims at
LARGEST_TENSOR = 32 << 20  # bytes above which the C allocator returns every block to the system
KEPT = 512 << 20  # bytes of free memory that the C allocator may keep between passes
FEW = 4  # rows that a pass has even above the working set, memory permitting
CROSSED = 32  # as `FEW`, where rows are compared with each of many: nothing is kept a pair, and weights are read a pass
SEVERAL = 24  # rows of a pass in part; below 16 torch leaves convolutions of 1 x 1 to its slower code on one thread
FIRST_PASS = 96 << 20  # bytes of activations guessed for the first pass, before any measurement; guesses are high
SIDE_BY_SIDE = 32 << 20  # bytes of activations whose gradients for several targets are found in one backward pass
GROWTH = 256  # bytes of activations guessed for each byte of input; 35 to 155 were measured on four networks
GUESSED = 2 << 30  # bytes up to which a guess is trusted with a first pass of `FEW` rows
LIGHT = 256 << 10  # bytes a row, guessed, below which there is nothing to measure or to save
BRIEF = 4 << 20  # bytes a row, guessed, below which one pass may go unmeasured: pictures of 32 x 32
UNLIMITED = 4096  # rows; more gains nothing
CACHED = 8 << 20  # bytes of the largest tensor of a pass without a graph; 0.5 to 20 MiB were best on seven networks
CROWD = 2048  # rows of such a pass; more gains nothing
SHARE = 0.4  # of the free memory
_TRIM_THRESHOLD = -1  # glibc's name of it, M_TRIM_THRESHOLD
_OUT_OF_MEMORY = (getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError), MemoryError)


class Budget:
    """Rows a pass may have; shared by all blocks of one call."""

    def __init__(self, batch_size: int | str, weights: int, row_bytes: int) -> None:
        guess = guessed(row_bytes, weights)
        self.light = light(row_bytes, weights)
        self.fixed = batch_size != "auto"
        self.only: int | None = None  # rows of every pass, where the model answers no other number
        self.tried = 0  # rows of the last pass begun
        self.row_cost: float | None = None  # measured bytes that a graph keeps, a row
        self.wide: int | None = None  # rows of a pass without a graph, once one was measured
        self.curious = False  # whether the next of them should be
        if self.fixed:
            if isinstance(batch_size, bool) or not isinstance(batch_size, int):
                refuse("batch_size", describe(batch_size), 'a positive int or "auto"', kind=BadType)
            if batch_size < 1:
                refuse("batch_size", batch_size, 'a positive int or "auto"')
            self.limit = self.crossed = batch_size  # of a pass; of one for the sake of pairs
            return
        if not self.light:
            remembering()
        few = FEW if FEW * guess <= GUESSED else 1
        self.limit = self.crossed = max(few, min(UNLIMITED, FIRST_PASS // max(1, guess)))

    @property
    def unmeasured(self) -> bool:
        """Whether the next pass with a graph should report what it held."""
        return self.row_cost is None and not self.light

    def measured(self, kept: int, largest: int, rows: int, device: torch.device) -> None:
        """Take note that the graph of a pass of `rows` rows kept `kept` bytes, the largest tensor being `largest`."""
        self.row_cost = max(kept / rows, 1)
        if self.fixed:
            return
        passing = max(2 * largest / rows, 1)  # what an operation reads and writes lives beside what is kept
        free = enough = crossed = free_memory(device) * SHARE / (self.row_cost + passing)
        if device.type == "cpu":
            small = LARGEST_TENSOR * rows / max(largest, 1)
            fitting, paired = (min(WORKING_SET / each, small) for each in (self.row_cost + passing, 2 * passing))
            enough, crossed = max(FEW, fitting), max(FEW, min(CROSSED, small), paired)
        self.limit, self.crossed = (max(1, int(min(UNLIMITED, free, most))) for most in (enough, crossed))

    def met(self, load: Load, rows: int, device: torch.device, before: int, graph: bool) -> None:
        """Take note of what a pass needed; `before`: bytes that were taken on a GPU, 0 elsewhere."""
        if not graph:
            return self.widened(load.largest, rows, device)
        kept = torch.cuda.memory_allocated(device) - before if before else sum(load.kept.values())
        return self.measured(kept, load.largest, rows, device)

    def foresee(self, rows: int) -> None:
        """Take note that passes without a graph are to have so many rows in all."""
        self.curious = not self.fixed and self.wide is None and rows > self.limit

    def widened(self, largest: int, rows: int, device: torch.device, in_part: bool = False) -> None:
        """Take note that the largest tensor of a pass of `rows` rows without a graph had `largest` bytes."""
        self.curious = False
        each = max(largest / rows, 1)
        most = free_memory(device) * SHARE / (4 * each)  # an operation's operands and result, and what waits beside
        few = min(SEVERAL, LARGEST_TENSOR / each) if in_part else min(FEW, LARGEST_TENSOR / (2 * each))
        enough = max(few, min(CROWD, CACHED / each)) if device.type == "cpu" else UNLIMITED
        self.wide = max(1, int(min(most, enough)))

    def most(self, graph: bool = True) -> int:
        """Rows that a pass may have, with or without a graph."""
        return self.limit if graph or self.wide is None else self.wide

    def points(self, rows: int, left: int, graph: bool = True) -> int:
        """Points of `rows` rows each that go into the next pass, `left` being to come: passes of even size."""
        return _evenly(left, self.most(graph) // rows)

    def pairs(self, rows: int, left: int) -> int:
        """As `points`, of passes for the sake of pairs: at rows to compare with, or back through others' graph."""
        return _evenly(left, self.crossed // rows)

    def parallel_targets(self, rows: int) -> int:
        """Targets whose backward passes may run as one; 1 where a pass is large enough to fill the machine alone."""
        return max(1, int(SIDE_BY_SIDE / ((self.row_cost or 1) * rows)))

    def halve(self, rows: int) -> bool:
        """After running out of memory with `rows` rows: half as many, or False if it was a single row (or none)."""
        self.limit = self.crossed = max(1, rows // 2)
        self.wide, self.curious = min(self.wide or self.limit, self.limit), False
        return rows > 1

    def pin(self, rows: int) -> None:
        """Have all passes of this many rows, as if it had been asked for."""
        self.only = rows
        self.fixed, self.limit, self.crossed, self.wide, self.curious = True, rows, rows, None, False


def guessed(row_bytes: int, weights: int) -> int:
    """Bytes of activations a row, of so many bytes of input and parameters."""
    return GROWTH * row_bytes + weights


def light(row_bytes: int, weights: int = 0) -> bool:
    """Whether a pass is so small that there is nothing to measure or to save."""
    return guessed(row_bytes, weights) < LIGHT


def brief(row_bytes: int, weights: int = 0) -> bool:
    """Whether a question of a pass or two is so small that measuring them would be what takes time."""
    return guessed(row_bytes, weights) < BRIEF


def _evenly(left: int, most: int) -> int:
    """How many of those left, if all passes are to have as many and none more than so many (or one)."""
    return -(-left // -(-left // max(1, most)))


@cache
def remembering() -> None:
    """Have the C allocator keep the memory of one pass for the next.

    glibc returns free memory to the system once there is more of it than twice the largest block that was ever freed,
    up to blocks of 32 MiB. A network whose tensors are all about as large uses three of them at a time and would pay
    for most of its pages anew in every pass, a third of the time of a VGG. So it is shown the largest block it learns
    from, which no page is ever given to; and it may keep as much as the graph of a pass takes. Other allocators do not
    care, or have no such option.
    """
    torch.empty(LARGEST_TENSOR - (64 << 10), dtype=torch.uint8, device="cpu")
    option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if option is not None:
        option(_TRIM_THRESHOLD, KEPT)


def free_memory(device: torch.device) -> float:
    """Bytes that can still be allocated on a device; infinite where it does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    return isinstance(error, _OUT_OF_MEMORY) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
