"""A piece of code exists once: a second copy of a function is seen, also where its names were changed."""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.architecture.source import Module, package

# Shorter bodies are alike by necessity: a property that returns a field, a call handed on.
STATEMENTS = 4


class _Nameless(ast.NodeTransformer):
    """Numbers local names in order of appearance, so that a renamed copy reads as the original does."""

    def __init__(self, local: set[str]) -> None:
        self.local = local
        self.numbers: dict[str, str] = {}

    def _number(self, name: str) -> str:
        return self.numbers.setdefault(name, f"v{len(self.numbers)}") if name in self.local else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._number(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._number(node.arg), None
        return node


def shape(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The function's arguments and body without docstring, annotations and local names; None where it is short."""
    function = copy.deepcopy(function)
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    if statements < STATEMENTS:
        return None
    local = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    local |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    nameless = _Nameless(local)
    return "\n".join([ast.dump(nameless.visit(function.args)), *(ast.dump(nameless.visit(s)) for s in function.body)])


def copies(modules: Iterable[Module]) -> Iterator[str]:
    places = defaultdict(list)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (form := shape(node)):
                places[form].append(f"{module.name}:{node.lineno} {node.name}")
    yield from (" = ".join(where) for where in places.values() if len(where) > 1)


def test_no_function_stands_twice() -> None:
    found = list(copies(package()))
    assert not found, "\n".join(found)


FIRST = '''
def mean(values: list[float], scale: float = 1.0) -> float:
    """The mean."""
    total = 0.0
    for value in values:
        total += value * scale
    return total / len(values)
'''
RENAMED = (
    FIRST.replace("value", "x").replace("total", "s").replace("The mean.", "Another story.").replace("mean", "avg")
)


def test_a_planted_copy_is_seen() -> None:
    assert list(copies([Module("a.py", FIRST), Module("b.py", RENAMED)]))


def test_what_differs_is_let_through() -> None:
    assert not list(copies([Module("a.py", FIRST), Module("b.py", FIRST.replace("+=", "-="))]))
    assert not list(copies([Module("a.py", FIRST), Module("b.py", FIRST.replace("len(", "sum("))]))
