"""Finding the optional packages that carry demonstration models and data, without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from enodo.core.errors import EnodoError


class MissingPackage(EnodoError, ImportError):
    """A model by name needs a package that is not installed."""

    def __init__(self, what: str, package: str, install: str = "'enodo[demo]'") -> None:
        super().__init__(f"{what} needs the package {package}, which is not installed; write: pip install {install}.")


def need(module: str, package: str, what: str) -> None:
    """Refuse, naming the package to install, if `module` cannot be imported."""
    if importlib.util.find_spec(module) is None:
        raise MissingPackage(what, package)


def folder_of(module: str, package: str, what: str, **hint: str) -> Path:
    """The folder an installed package lies in; `install`: what pip is to be told, if not the extra of the demo."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(what, package, **hint)
    return Path(next(iter(spec.submodule_search_locations)))
