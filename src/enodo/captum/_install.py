"""`import captum` resolved to `enodo.captum`, for scripts that cannot be edited."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_NAME, _HOME = "captum", "enodo.captum"


class _Alias(MetaPathFinder, Loader):
    """Finds `captum.x` as the very module `enodo.captum.x`: one module object under two names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _ours(fullname):
            return None
        home = _HOME + fullname.removeprefix(_NAME)
        try:
            found = importlib.util.find_spec(home)
        except ModuleNotFoundError:
            found = None
        if found is None:  # falling through to the real package would mix two libraries in one script
            raise ModuleNotFoundError(
                f"{fullname} was asked for while enodo.captum stands in for captum, and there is no {home}. "
                "For the real package call enodo.captum.uninstall() first.",
                name=fullname,
            )
        return ModuleSpec(fullname, self, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own empty module, replaced below: given the real one, the import system would rename it."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(_HOME + name.removeprefix(_NAME))


_lock = threading.RLock()
_alias = _Alias()
_set_aside: dict[str, ModuleType] = {}


def _ours(name: str) -> bool:
    return name == _NAME or name.startswith(_NAME + ".")


def install() -> None:
    """Make `import captum`, `from captum.attr import ...` and the like resolve here until `uninstall()`.

    Also where the real package is installed, or even imported: its modules are set aside. A name that a script has
    bound before stays bound to what it was.
    """
    with _lock:
        if _alias not in sys.meta_path:
            _set_aside.update((name, sys.modules.pop(name)) for name in list(sys.modules) if _ours(name))
            sys.meta_path.insert(0, _alias)


def uninstall() -> None:
    """Undo `install()`: the modules set aside come back, and `import captum` means the real package again."""
    with _lock:
        if _alias in sys.meta_path:
            sys.meta_path.remove(_alias)
            for name in [name for name in sys.modules if _ours(name)]:
                del sys.modules[name]
            sys.modules.update(_set_aside)
            _set_aside.clear()
