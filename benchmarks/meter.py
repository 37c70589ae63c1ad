"""Seconds and bytes of calls.

Peak memory is what the operating system saw: the process's resident high-water mark (VmHWM), reset just before the
call, less what was resident then. The call has run once before, so that one-time work (thread pools, compiled kernels)
is not counted, and the allocator has been told to return what it keeps. It includes fragmentation and the scratch space
of kernels, as the machine's owner does. As a check, `allocated` adds up torch's own allocation events: it sees the
tensors and nothing else, to the byte. Both need a process of their own for each side.
"""

from __future__ import annotations

import ctypes
import gc
import math
import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .work import Call

MIB = 1 << 20
LEAST_SECONDS = 0.03  # of one timing; shorter calls are repeated within it
STATUS = pathlib.Path("/proc/self/status")


def rest() -> None:
    """Give back what neither Python nor the C allocator needs."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes (Linux)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak(call: Call) -> float:
    """MiB that a call holds at its height, as the operating system sees it."""
    call()
    rest()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / MIB


def allocated(call: Call) -> float:
    """MiB of tensors that a call holds at its height, by torch's own account."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    result = profile.profiler.kineto_results if profile.profiler is not None else None
    if result is None:
        raise RuntimeError("torch.profiler recorded nothing")
    events = [(event.start_ns(), event.nbytes()) for event in result.events() if event.name() == "[memory]"]
    held = highest = 0
    for _, change in sorted(events, key=lambda event: event[0]):
        held += change
        highest = max(highest, held)
    return highest / MIB


def turns(call: Call) -> Iterator[float]:
    """Seconds of a call, once more each time it is asked for.

    On one thread they are the processor's seconds, which other programs do not lengthen.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    call()
    start = clock()
    call()
    often = max(1, min(300, math.ceil(LEAST_SECONDS / (clock() - start))))
    while True:
        start = clock()
        for _ in range(often):
            call()
        yield (clock() - start) / often


def ratio(above: list[float], below: list[float]) -> float:
    """The median over the rounds of one side's seconds by the other's in the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def distance(ours: Any, theirs: Any) -> float:
    """Relative L2 distance of two attributions; 0 for equal ones."""
    a, b = flat(ours), flat(theirs)
    if a.shape != b.shape:
        raise ValueError(f"the sides answer in different shapes: {tuple(a.shape)} and {tuple(b.shape)} values")
    return float((a - b).norm() / b.norm())


def flat(values: Any) -> Tensor:
    parts = values if isinstance(values, (list, tuple)) else [values]
    return torch.cat([part.detach().double().flatten() for part in parts])
