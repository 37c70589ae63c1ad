"""What the architecture tests read: the project's files, parsed once."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "enodo"

# An import runs with its module, with the function that holds it, or (for type checkers only) never.
When = Literal["at once", "when called", "never"]


@dataclass(frozen=True)
class Module:
    """A Python file: `name` is its path below src/enodo where it belongs to the package, below the root elsewhere."""

    name: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.name)

    @property
    def dotted(self) -> str:
        """`enodo.core.points` for core/points.py, `enodo.core` for core/__init__.py."""
        parts = ("enodo", *Path(self.name).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with its callee as written, e.g. `torch.load`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, ast.unparse(node.func)

    def imports(self) -> Iterator[tuple[int, str, When]]:
        """Every import as (line, absolute dotted name, when it happens)."""
        for node, when in _with_time(self.tree, "at once"):
            for target in self._targets(node):
                yield node.lineno, target, when

    def _targets(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._absolute(node)
            # `from enodo import core` names a room in its alias, not in its module.
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = self.dotted.split(".")
        above = node.level if not self.name.endswith("__init__.py") else node.level - 1
        kept = here[: len(here) - above]
        return ".".join([*kept, node.module] if node.module else kept)


def _with_time(node: ast.AST, when: When) -> Iterator[tuple[ast.AST, When]]:
    for child in ast.iter_child_nodes(node):
        inner = when
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner = "when called"
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            inner = "never"
        yield child, inner
        yield from _with_time(child, inner)


@functools.cache
def package() -> tuple[Module, ...]:
    """Every Python file of src/enodo."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple(Module(path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8")) for path in paths)


@functools.cache
def project_files() -> tuple[Path, ...]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in sorted(set(paths)) if path.is_file())


@functools.cache
def python_files() -> tuple[Module, ...]:
    """Every Python file of the project: the package, tests, benchmarks, scripts."""
    return tuple(
        Module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for path in project_files()
        if path.suffix == ".py"
    )
