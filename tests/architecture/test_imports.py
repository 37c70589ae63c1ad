"""Imports point down only, and `import enodo` is light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.source import PACKAGE, Module, package

# Lowest first; rooms on one floor do not know each other. `enodo` itself, the front door, stands on the methods.
FLOORS = (
    ("version",),
    ("core",),
    ("rules",),
    ("methods",),
    ("enodo",),
    ("metrics", "concepts", "influence", "robust", "text", "testing"),
    ("show",),
    ("captum",),
    ("io",),
    ("cli", "app"),
    ("__main__",),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

# An Attribution shows and checks itself: `plot()`, `check()` hand it to a room above when they are called, not before.
LAZILY_UP = {("core/result.py", "show"), ("core/result.py", "metrics")}

HEAVY = (
    "matplotlib",
    "transformers",
    "sklearn",
    "skimage",
    "pandas",
    "typer",
    "rich",
    "captum",
    "PIL",
    "tqdm",
    "scipy",
)


def room(dotted: str) -> str:
    """The room that a dotted name of the package lies in."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else "enodo"


def upward(module: Module) -> Iterator[str]:
    here = room(module.dotted)
    for line, target, when in module.imports():
        if target.split(".")[0] != "enodo":
            continue
        there = room(target)
        if there == here or FLOOR[there] < FLOOR[here] or (when == "when called" and (module.name, there) in LAZILY_UP):
            continue
        yield f"{module.name}:{line}: {here} imports {target}, which does not lie below it"


def test_every_room_has_a_floor() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    unknown = rooms - set(FLOOR) - {"__init__", "__pycache__"}
    assert not unknown, f"say in FLOORS where these belong: {sorted(unknown)}"


def test_imports_point_down() -> None:
    found = [line for module in package() for line in upward(module)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/points.py", "from enodo.methods import gradient"),
        ("core/points.py", "from ..methods.gradient import gradient"),
        ("core/deep/points.py", "from ... import methods"),
        ("core/__init__.py", "from ..rules import lrp"),
        ("core/points.py", "import enodo"),
        ("core/points.py", "def late():\n    import enodo.show"),
        ("core/points.py", "import importlib\nimportlib.import_module('enodo.methods')"),
        ("core/points.py", "if TYPE_CHECKING:\n    from enodo.methods import gradient"),
        ("core/result.py", "from enodo import show"),
        ("show/html.py", "from enodo import captum"),
        ("metrics/infidelity.py", "import enodo.text"),
    ],
)
def test_a_planted_upward_import_is_seen(name: str, text: str) -> None:
    assert len(list(upward(Module(name, text)))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/result.py", "def plot(self):\n    from enodo.show import plot"),
        ("core/points.py", "from .values import Values"),
        ("core/__init__.py", "from .values import Values"),
        ("cli/main.py", "import enodo\nfrom enodo.io import subjects"),
        ("__main__.py", "from enodo.cli import main"),
    ],
)
def test_a_downward_import_is_let_through(name: str, text: str) -> None:
    assert not list(upward(Module(name, text)))


def test_import_enodo_is_light() -> None:
    """It adds none of the heavy packages, and at most a sixth as many modules as its own dependencies load."""
    program = (
        "import json, sys\n"
        "import torch, numpy, safetensors.torch\n"
        "before = set(sys.modules)\n"
        "import enodo\n"
        "print(json.dumps([len(before), sorted(set(sys.modules) - before)]))"
    )
    source = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=source, check=False)
    assert run.returncode == 0, run.stderr
    before, added = json.loads(run.stdout)
    assert "enodo" in added
    assert not {name.split(".")[0] for name in added} & set(HEAVY)
    assert len(added) <= before / 6, added
