"""The Python that the documents show runs as it stands; a fragment that cannot is fenced as `py`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, project_files

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """Each fenced block of Python with the line it begins on."""
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in FENCE.finditer(text)]


def run(name: str, text: str) -> None:
    """Run the blocks of a document one after another, as a reader would."""
    space: dict[str, object] = {"__name__": "document"}
    for line, code in blocks(text):
        # Blank lines put an error on the document's own line.
        exec(compile("\n" * (line - 1) + code, name, "exec"), space)


DOCUMENTS = [path for path in project_files() if path.suffix == ".md" and blocks(path.read_text("utf-8"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_document_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("enodo.core.registry._cards", dict(registered()))
    run(str(path), path.read_text("utf-8"))


def registered() -> dict[str, object]:
    """The methods by name and alias, so that what a document registers is gone with it."""
    from enodo.core import registry

    return registry._cards


def test_a_planted_wrong_example_is_seen() -> None:
    text = "Text.\n\n```python\nx = 1\n```\n\n```py\nnot python\n```\n\n```python\nassert x == 2\n```\n"
    assert [line for line, _ in blocks(text)] == [4, 12]
    with pytest.raises(AssertionError):
        run("a.md", text)
