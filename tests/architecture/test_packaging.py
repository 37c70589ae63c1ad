"""What is shipped is whole, and what is imported is declared."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from tests.architecture.source import PACKAGE, ROOT, Module, package, project_files

METADATA = ProjectMetadata(str(ROOT), PluginManager()).core


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name, in the one spelling that an index compares."""
    return {plain(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


ALWAYS = names(METADATA.dependencies)
OFFERED = {
    extra: names(listed) for extra, listed in METADATA.optional_dependencies.items() if extra not in {"dev", "all"}
}
OPTIONAL = ALWAYS.union(*OFFERED.values())
# Where the name to import is not the name to install.
INSTALLED_AS = {"PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "mpl_toolkits": "matplotlib"}


def undeclared(module: Module, others: Iterable[Module] = ()) -> Iterator[str]:
    """Imports of what no extra names, and imports outside a function of what only an extra names."""
    # The front ends are reached only by who has their extra, and a module that all `others` import only when a function
    # is called is as good as the inside of that function.
    free = module.name.startswith(("cli/", "app/")) or not any(needs(other, module) for other in others)
    for line, target, when in module.imports():
        top = target.split(".")[0]
        if top in sys.stdlib_module_names or top in {"enodo", "__future__"}:
            continue
        allowed = ALWAYS if when == "at once" and not free else OPTIONAL
        if plain(INSTALLED_AS.get(top, top)) not in allowed:
            yield f"{module.name}:{line}: {target}, imported {when}, is not among {sorted(allowed)}"


def needs(one: Module, other: Module) -> bool:
    """Whether `one` imports `other` as it is itself imported."""
    imported = {target for _, target, when in one.imports() if when == "at once"}
    return any(target == other.dotted or target.startswith(f"{other.dotted}.") for target in imported)


def test_every_import_is_declared() -> None:
    found = [line for module in package() for line in undeclared(module, package())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/result.py", "import pandas"),
        ("io/text.py", "from transformers import AutoModel"),
        ("cli/main.py", "import surely_no_such_package"),
        ("core/result.py", "def f():\n    import pytest"),
    ],
)
def test_a_planted_undeclared_import_is_seen(name: str, text: str) -> None:
    assert list(undeclared(Module(name, text), [Module("__init__.py", f"import {Module(name, text).dotted}")]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/result.py", "import torch, numpy, json, safetensors.torch"),
        ("core/result.py", "def f():\n    import pandas"),
        ("core/result.py", "if TYPE_CHECKING:\n    import pandas"),
        ("cli/main.py", "import typer"),
        ("io/text.py", "def f():\n    from sklearn import datasets"),
    ],
)
def test_a_declared_import_is_let_through(name: str, text: str) -> None:
    assert not list(undeclared(Module(name, text), [Module("__init__.py", f"import {Module(name, text).dotted}")]))


def test_a_module_that_is_imported_late_may_import_at_once() -> None:
    axes, late = Module("show/axes.py", "import matplotlib"), "def f():\n    from enodo.show.axes import new_axes"
    assert not list(undeclared(axes, [Module("show/image.py", late)]))
    assert list(undeclared(axes, [Module("show/image.py", late), Module("show/text.py", "from .axes import new_axes")]))


def test_the_wheel_carries_the_whole_package(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("enodo/")}
    expected = {path.relative_to(PACKAGE.parent).as_posix() for path in project_files() if PACKAGE in path.parents}
    assert shipped == expected
    assert "enodo/py.typed" in shipped
