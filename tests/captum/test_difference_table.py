"""The table of differences and the tests that prove it name the same differences."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "captum_differences.md"


def test_every_row_has_its_test_and_every_test_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TABLE.read_text(), re.MULTILINE)
    files = sorted(HERE.glob("test_differences_*.py"))
    tests = [name for file in files for name in re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)]
    assert len(files) >= 3
    assert len(rows) > 20
    assert sorted(rows) == sorted(tests)
