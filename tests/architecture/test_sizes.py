"""Files and functions stay short: where one wants more, a concept is missing."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator

import pytest

from tests.architecture.source import Module, package, python_files

FILE_LINES = 300
MEDIAN_LINES = 200
FUNCTION_LINES = 60


def long_functions(module: Module) -> Iterator[str]:
    """Functions with too many lines, decorators and docstring counted; a signature counts as one line.

    A command declares each of its options there, and a method each of its own: those are a form, not a flow.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            above, signature = node.lineno - first, 1
            lines = above + signature + (node.end_lineno or first) - node.body[0].lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{module.name}:{first}: {node.name} has {lines} lines"


def long_files(modules: tuple[Module, ...]) -> Iterator[str]:
    for module in modules:
        if module.lines > FILE_LINES:
            yield f"{module.name} has {module.lines} lines"


def test_no_file_is_long() -> None:
    found = list(long_files(python_files()))
    assert not found, "\n".join(found)


def test_the_median_file_is_short() -> None:
    assert statistics.median(module.lines for module in package()) <= MEDIAN_LINES


def test_no_function_is_long() -> None:
    found = [line for module in python_files() for line in long_functions(module)]
    assert not found, "\n".join(found)


def test_a_planted_long_file_is_seen() -> None:
    assert not list(long_files((Module("a.py", "x = 1\n" * FILE_LINES),)))
    assert list(long_files((Module("a.py", "x = 1\n" * (FILE_LINES + 1)),)))


@pytest.mark.parametrize(
    "head", ["def f():\n", "async def f():\n", "class A:\n  @property\n  def f(self):\n", 'def f():\n    """What."""\n']
)
def test_a_planted_long_function_is_seen(head: str) -> None:
    own = len(head.splitlines()) - head.startswith("class")
    body = "    x = 1\n"
    assert not list(long_functions(Module("a.py", head + body * (FUNCTION_LINES - own))))
    assert list(long_functions(Module("a.py", head + body * (FUNCTION_LINES - own + 1))))
