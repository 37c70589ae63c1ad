"""The answer does not depend on the device: every method, asked where the model and the inputs are elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.utils.backend_registration

from enodo.core import tree as trees
from enodo.testing.case import need_equal
from tests.laws.ask import METHODS, case_of, one_place, rotated, trial

STANDS_IN = hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")


@pytest.mark.skipif(not STANDS_IN, reason="this torch does not let Python stand for a device")
def test_a_device_that_is_strict() -> None:
    command = [sys.executable, "-m", "tests.laws.elsewhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *wrong, asked = done.stdout.strip().splitlines()
    assert not wrong, "\n".join(wrong)
    assert int(asked.split()[0]) > len(METHODS)


# without a GPU the list is empty, which is shown as one test that is skipped
@pytest.mark.parametrize(("method", "name", "number"), rotated(4) if torch.cuda.is_available() else [])
def test_a_gpu(method: str, name: str, number: int) -> None:
    case = case_of(name)
    wrt, of = one_place(method, case, number)
    there = case.on("cuda")
    found = trial(method, there, wrt, of)()
    assert all(t.device.type == "cuda" for _, t in trees.leaves(found.values) if t is not None)
    need_equal(trial(method, case, wrt, of), "devices", found, trial(method, case, wrt, of)(), "elsewhere", tol=1e-7)
