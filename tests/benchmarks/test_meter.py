"""The benchmarks' meters measure what they say, and the works' sides do the same work."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks.harness import agreement, merged, promise
from benchmarks.meter import STATUS, allocated, distance, ratio, turns
from benchmarks.work import Work
from benchmarks.works import small

HELD = """
import torch
from benchmarks.meter import peak
def call():
    held = torch.ones(8 << 20)
    held = held.clone()
    return held.mean()
print(peak(call))
"""


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from Linux's /proc")
def test_peak_is_what_a_call_holds_at_once():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert 64 <= float(done.stdout) + 1 < 70  # two tensors of 32 MiB at once


def test_allocated_counts_tensors_to_the_byte():
    def call() -> None:
        for _ in range(3):
            first = torch.empty(8 << 20, dtype=torch.uint8)
            second = torch.empty(4 << 20, dtype=torch.uint8)
            del first, second

    assert allocated(call) == 12


def test_a_turn_repeats_a_short_call_as_often_as_the_clock_needs():
    asked: list[str] = []
    times = turns(lambda: asked.append("a"))
    first = next(times)
    often = len(asked) - 2  # once to warm, once to see how long it takes
    assert often > 1
    assert next(times) > 0 < first
    assert len(asked) == 2 + 2 * often


def test_ratios_are_medians_of_rounds():
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0


def test_distance_refuses_answers_of_other_shapes():
    assert distance([torch.ones(2), torch.zeros(1)], torch.tensor([1.0, 1.0, 1.0])) == pytest.approx(3**-0.5)
    with pytest.raises(ValueError, match="different shapes"):
        distance(torch.ones(2), torch.ones(3))


def test_a_broken_promise_is_bold():
    assert promise(1.5, 1.6, least=True) == ["**1.5**", ">= 1.6"]
    assert promise(1.5, 1.6, least=False) == ["1.5", "<= 1.6"]
    assert promise(1.5, None, least=True) == ["1.5", ""]
    work = Work("w", "w", {})
    assert agreement(work, {"captum": 1e-5}) == "1e-05"
    assert agreement(work, {"captum": 1e-3}) == "**1e-03**"
    assert agreement(work, {"captum": 1e-3, "enodo exact": 2e-3, "captum exact": 1e-3}).startswith("**")


@pytest.mark.parametrize("work", small.WORKS, ids=lambda work: work.name)
def test_sides_do_the_same_work(work):
    pytest.importorskip("captum")
    answers = {side: build()() for side, build in work.sides.items()}
    if work.exact is None:
        assert distance(answers["enodo"], answers["captum"]) < 1e-5
    else:
        exact = work.exact()
        assert distance(answers["enodo"], exact) < distance(answers["captum"], exact)
    if "floor" in answers:
        assert distance(answers["floor"], answers["enodo"]) < 1e-5


def test_lines_that_were_not_measured_now_stay_as_they_were():
    before = ["# Title", "| work | ours |", "|---|---|", "| b, c | 1 s |", "| gone | 2 s |", "| a | 3 s |"]
    table = merged(["| work | ours |", "|---|---|", "| a | 4 s |"], before, ["a", "b, c", "new"])
    assert table == ["| work | ours |", "|---|---|", "| a | 4 s |", "| b, c | 1 s |"]
