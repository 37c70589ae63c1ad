"""The README's table of methods is that of the Cards."""

from __future__ import annotations

import importlib.util

from tests.architecture.source import ROOT

spec = importlib.util.spec_from_file_location("methods_table", ROOT / "scripts" / "methods_table.py")
assert spec is not None
assert spec.loader is not None
methods_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(methods_table)


def test_the_table_of_methods_is_up_to_date() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert methods_table.renewed(text) == text, "run python scripts/methods_table.py"


def test_a_stale_table_is_seen() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert methods_table.renewed(text.replace("`gradient`", "`gradients`")) == text
