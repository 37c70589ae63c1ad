"""Runs the works: each side in a process of its own, which take turns for their seconds."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from . import accuracy, samplers
from .work import Work

TABLES = {"error": accuracy, "sampler": samplers}  # of errors, beside the works
ERRORS = {f"{kind}_{case}": (kind, case) for kind, t in TABLES.items() for case in t.CASES}  # as the command line asks
DRAWS = 9  # of each side, where the sides draw different random numbers
LAUNCHES, LONG = 3, 1.0  # fresh processes of each side, unless their calls took so many seconds together
RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
COLUMNS = (
    "work", "ours", "Captum", "Captum / ours", "promised", "peak MiB, ours", "Captum", "ours / Captum", "promised",
    "ours / floor", "promised", "difference",
)  # fmt: skip
HEADER = """# Benchmarks

`make bench` measures these tables, with ARGS="words" the lines of the works so called; these: {machine}. The sides take
turns and each ratio is the median over the rounds, so what else the machine does falls on all alike; each is a process
of its own, as its users have it, since what one leaves of the heap would make the others faster or slower; short works
are measured in three fresh processes of each side. What runs on one thread, as small models always do (waiting for a
second core would be all that is seen of them), is given in processor seconds. "Captum" is called as its users call it,
with its defaults. The floor is the bare PyTorch loop: frozen parameters, chunks as large as ours, the same nodes, no
library. Memory is the peak above the model's own, of one call in a fresh process (`meter.py` says how it is taken); in
brackets, the tensors alone by torch's account. Difference is the relative L2 distance between our numbers and Captum's,
and after the bar what separates ours and Captum's from the truth, computed in float64; of methods that draw, the median
over several draws, beside that of two draws of Captum's. Bold is a promise not kept.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "words", nargs="*", help="run the works whose names contain one of these, and replace their lines; all without"
    )
    for how in ("--child", "--turns"):
        parser.add_argument(how, nargs=2, metavar=("WORK", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    from .works import WORKS

    if given.child:
        name, side = given.child
        return print(json.dumps(answer(WORKS, name, side)))
    if given.turns:
        name, side = given.turns
        return serve(WORKS[name], side)
    chosen = {name for name in [*WORKS, *ERRORS] if not given.words or any(word in name for word in given.words)}
    if not chosen:
        parser.error(f"no work is called like that; there are {', '.join([*WORKS, *ERRORS])}")
    works = report(COLUMNS, [(lambda w=work: line(w, measure(w))) for name, work in WORKS.items() if name in chosen])
    before = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    text = [HEADER.format(machine=machine()), *merged(works, before, [work.about for work in WORKS.values()])]
    for kind, t in TABLES.items():
        asked = [case for name, (of, case) in ERRORS.items() if of == kind and name in chosen]
        found = report(t.COLUMNS, [(lambda c=case, t=t, k=kind: t.line(c, child(c, k))) for case in asked])
        text += [t.TITLE, *merged(found, before, list(t.CASES.values()))]
    RESULTS.write_text("\n".join([*text, ""]))
    print(f"written: {RESULTS.name}")


def merged(table: list[str], before: list[str], names: list[str]) -> list[str]:
    """A table with its lines in the order of `names`; those that were not measured now stay as they were before."""
    head, lines = table[:2], {first(text): text for text in [*before, *table[2:]] if text.startswith("| ")}
    return [*head, *(lines[name] for name in names if name in lines)]


def first(text: str) -> str:
    """What a line of a table is about."""
    return text.split(" | ", 1)[0].removeprefix("| ")


def answer(works: dict[str, Work], name: str, side: str) -> dict[str, Any]:
    """What a child is asked: the errors of a case, what the sides differ by, or the memory of one."""
    if side in TABLES:
        return TABLES[side].measure(name)
    return differences(works[name]) if side == "all" else memory(works[name], side)


def serve(work: Work, side: str) -> None:
    """Tell the seconds of one side each time a line comes in, and nothing else: models talk while they are loaded."""
    from .meter import turns

    told = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        seconds = turns(work.sides[side]())
        for _ in sys.stdin:
            print(next(seconds), file=told, flush=True)


def report(columns: tuple[str, ...], rows: list[Callable[[], str]]) -> list[str]:
    """The lines of a table, each printed as soon as it is measured."""
    lines = ["| " + " | ".join(columns) + " |", "|".join(["", *(["---"] * len(columns)), ""])]
    for row in rows:
        lines.append(row())
        print(lines[-1], flush=True)
    return lines


def measure(work: Work) -> dict[str, Any] | None:
    """Everything about one work, from children that start fresh; None where a child failed."""
    seconds, difference = interleave(work), child(work.name, "all", work.threads)
    if seconds is None or difference is None:
        return None
    result: dict[str, Any] = {"seconds": seconds, "difference": difference}
    if work.memory is not None:
        held = {side: child(work.name, side) for side in work.sides if side != "floor"}
        result |= {"memory": held} if all(held.values()) else {}
    return result


def interleave(work: Work) -> dict[str, list[float]] | None:
    """Seconds a call of each side, in turns; of short works in several fresh processes, as each has luck of its own."""
    seconds: dict[str, list[float]] = {side: [] for side in work.sides}
    for _ in range(LAUNCHES):
        if not launch(work, seconds):
            return None
        if sum(map(sum, seconds.values())) > LONG:
            break
    return seconds


def launch(work: Work, seconds: dict[str, list[float]]) -> bool:
    """Rounds in which sides take turns, their order rotating, so that all meet the same disturbances."""
    sides = list(work.sides)
    with contextlib.ExitStack() as stack:
        ask = {side: stack.enter_context(start(work.name, side, work.threads, "--turns")) for side in sides}
        for turn in range(-1, work.rounds):  # the first warms up
            for side in sides[turn % len(sides) :] + sides[: turn % len(sides)]:
                print(file=ask[side].stdin, flush=True)
                told = ask[side].stdout.readline()
                if not told:
                    return False
                if turn >= 0:
                    seconds[side].append(float(told))
    return True


def start(name: str, side: str, threads: int | None, how: str) -> subprocess.Popen[str]:
    """A fresh process for one side of a work."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", how, name, side]
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def child(name: str, side: str, threads: int | None = None) -> dict[str, Any] | None:
    """The answer of a fresh process; None, after its traceback, where it failed."""
    with start(name, side, threads, "--child") as process:
        told, _ = process.communicate()
    if process.returncode:
        return None
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def differences(work: Work) -> dict[str, float]:
    """What the answers of the sides differ by."""
    from .meter import distance

    calls = {side: build() for side, build in work.sides.items() if side != "floor"}
    answers = {side: call() for side, call in calls.items()}
    difference = {"captum": distance(answers["enodo"], answers["captum"])}
    if work.agree is None:  # what draws of the two sides differ by, and draws of the same side
        ours, theirs = ([calls[side]() for _ in range(DRAWS)] for side in ("enodo", "captum"))
        difference["captum"] = statistics.median(map(distance, ours, theirs))
        difference["draws"] = statistics.median(map(distance, theirs[1:], theirs[:-1]))
    if work.exact is not None:
        exact = work.exact()
        difference |= {f"{side} exact": distance(answers[side], exact) for side in ("enodo", "captum")}
    return difference


def memory(work: Work, side: str) -> dict[str, float]:
    from .meter import allocated, peak

    call = work.sides[side]()
    return {"peak": peak(call), "allocated": allocated(call)}


def line(work: Work, found: dict[str, Any] | None) -> str:
    """One row of the table."""
    if not found:
        return "| " + " | ".join([work.about, "**failed**", *[""] * (len(COLUMNS) - 2)]) + " |"
    from .meter import ratio

    seconds, difference = found["seconds"], found["difference"]
    cells = [work.about, *(duration(statistics.median(seconds[side])) for side in ("enodo", "captum"))]
    cells += promise(ratio(seconds["captum"], seconds["enodo"]), work.faster, least=True)
    if "memory" in found:
        ours, theirs = found["memory"]["enodo"], found["memory"]["captum"]
        cells += [f"{m['peak']:.0f} ({m['allocated']:.0f})" for m in (ours, theirs)]
        cells += promise(ours["peak"] / theirs["peak"], work.memory, least=False)
    else:
        cells += [""] * 4
    cells += (
        promise(ratio(seconds["enodo"], seconds["floor"]), work.floor, least=False) if "floor" in seconds else ["", ""]
    )
    return "| " + " | ".join([*cells, agreement(work, difference)]) + " |"


def promise(value: float, limit: float | None, least: bool) -> list[str]:
    """A measured ratio and what was promised of it."""
    text = f"{value:.3g}"
    if limit is None:
        return [text, ""]
    kept = value >= limit if least else value <= limit
    return [text if kept else f"**{text}**", f"{'>=' if least else '<='} {limit:.3g}"]


def agreement(work: Work, difference: dict[str, float]) -> str:
    """Whether the sides say the same: to `agree`, or no farther from float64 than Captum, or as two draws do."""
    text = f"{difference['captum']:.0e}"
    if "draws" in difference:
        good = difference["captum"] <= 1.25 * difference["draws"]
        text += f" (two draws: {difference['draws']:.0e})"
    else:
        good = work.agree is not None and difference["captum"] <= work.agree
    if "enodo exact" in difference:
        good = good or difference["enodo exact"] <= 1.5 * difference["captum exact"]
        text += f" \\| {difference['enodo exact']:.0e}, {difference['captum exact']:.0e}"
    return text if good else f"**{text}**"


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"


def processor() -> str:
    """What a processor calls itself: whose library multiplies fastest on it decides some of the ratios."""
    told = pathlib.Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def machine() -> str:
    """Where the figures were measured."""
    from importlib.metadata import version

    import torch

    threads, kind = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    cores = f"{os.cpu_count()} cores of {processor()} ({kind}), {threads} thread{'s' if threads > 1 else ''}"
    return f"{cores}, torch {torch.__version__.split('+')[0]}, Captum {version('captum')}"
