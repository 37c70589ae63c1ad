"""Nothing is said twice, and the project speaks about itself only."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, Module, package, project_files

SENTENCE = 60

# Written so that this file does not match itself.
FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.~>)}-])/(?:[t]mp/\w|[w]ork/|[o]pt/\w|[r]oot/|[h]ome/\w|[U]sers/\w)"),
    "the host of a package registry": re.compile(
        r"[p]ypi\.(?:org|io)|[p]ythonhosted\.org|[r]egistry\.npmjs|[d]eb\.debian\.org|[d]ownload\.pytorch\.org"
        r"|(?<![\w.])[i]ndex-url\s*[= ]\s*\w+:",
        re.IGNORECASE,
    ),
    "the number of an issue": re.compile(r"\b[i]ssues?\s+#?\d", re.IGNORECASE),
    "a note of unfinished work": re.compile(r"\b(?:[T]ODO|[F]IXME|[X]XX|[H]ACK)\b"),
}


def sentences(module: Module) -> Iterator[tuple[str, str]]:
    """Every docstring sentence of at least SENTENCE characters, as (where, sentence with its spacing made plain)."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(module.tree):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        for paragraph in re.split(r"\n\s*\n", text or ""):
            for sentence in re.split(r"(?<=[.!?:;])\s+", " ".join(paragraph.split())):
                if len(sentence) >= SENTENCE:
                    yield f"{module.name}:{getattr(node, 'lineno', 1)}", sentence.rstrip(".;:").lower()


def repeated(modules: Iterable[Module]) -> Iterator[str]:
    places = defaultdict(list)
    for module in modules:
        for where, sentence in sentences(module):
            places[sentence].append(where)
    yield from (f"{', '.join(where)}: {sentence}" for sentence, where in places.items() if len(where) > 1)


def foreign(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FOREIGN.items():
            if match := pattern.search(line):
                yield f"{name}:{number}: {what}: {match.group()}"


def text_of(path: Path) -> str:
    """What a file says; pictures and weights, which hold zero bytes, say nothing."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8")


def test_no_docstring_sentence_stands_twice() -> None:
    found = list(repeated(package()))
    assert not found, "\n".join(found)


def test_nothing_foreign_is_written_in_the_project() -> None:
    files = project_files()
    assert ROOT / "pyproject.toml" in files
    found = [line for path in files for line in foreign(path.relative_to(ROOT).as_posix(), text_of(path))]
    assert not found, "\n".join(found)


LONG = "Integrates the gradient along the straight path from the baseline to the input"


@pytest.mark.parametrize(
    "second", [f"{LONG}.", f"Another opening. {LONG.lower()}", LONG.replace(" the ", "\n    the ")]
)
def test_a_planted_repetition_is_seen(second: str) -> None:
    first = Module("a.py", f'"""{LONG}."""')
    assert not list(repeated([first, Module("b.py", '"""Another opening."""')]))
    assert list(repeated([first, Module("b.py", f'def f():\n    """{second}"""')]))


@pytest.mark.parametrize(
    "planted",
    [
        "open('/{}mp/w/x')".format("t"),
        "see /{}ork/main".format("w"),
        "`/{}ome/ann/enodo`".format("h"),
        "https://{}ypi.org/simple".format("p"),
        "https://files.{}ythonhosted.org".format("p"),
        "pip install --extra-{}ndex-url=https://somewhere".format("i"),
        "# {}ODO: later".format("T"),
        "as {}ssue 2 asks".format("i"),
    ],
)
def test_a_planted_foreign_word_is_seen(planted: str) -> None:
    assert list(foreign("a.py", f"x = 1\n{planted}\n"))


@pytest.mark.parametrize(
    "plain", ["src/enodo/home/page.py", "tmp_path / 'x'", "https://semver.org", "todo list", "$OUT/work"]
)
def test_a_plain_word_is_let_through(plain: str) -> None:
    assert not list(foreign("a.py", plain))
