"""Bad input meets an error that names the argument, what was given and what was expected, also under `python -O`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.source import ROOT
from tests.laws.bad_input import Bad, complaint
from tests.laws.bad_tensors import TABLE


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.argument}: {row.what}" for row in TABLE])
def test_it_is_refused_in_words(row: Bad) -> None:
    assert not complaint(row)


def test_so_it_is_without_asserts() -> None:
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-O", "-m", "tests.laws.bad_tensors"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, env=where, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_table_sees_what_is_not_refused() -> None:
    assert "answered" in complaint(Bad("nothing wrong", "target", (), {}))
    assert "does not say" in complaint(Bad("other words", "target", ("a reason",), {"target": 9}))
    assert "does not begin" in complaint(Bad("another argument", "baseline", (), {"target": 9}))
    assert "instead of" in complaint(Bad("another kind", "target", (), {"target": 9}, TypeError))
    assert "raised ZeroDivisionError" in complaint(Bad("its own fault", "model", (), {"model": lambda x: 1 / 0}))
