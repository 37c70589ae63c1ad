"""`install()` and `uninstall()`, each in a fresh interpreter, with and without the real package around."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "captum" and enodo_gone(): raise ModuleNotFoundError(name)
def enodo_gone(): return True
sys.meta_path.insert(0, Hide())
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


IMPORTS = """
import captum, captum.attr, captum.attr as attr
from captum.attr import IntegratedGradients, LayerConductance
from captum.attr._utils.stat import Stat
import captum.attr._models.base as base
import captum.attr._core.layer.grad_cam
from captum.attr._core.neuron.neuron_gradient import NeuronGradient
import enodo.captum
assert captum is enodo.captum and attr is enodo.captum.attr and captum.attr is attr
assert IntegratedGradients is enodo.captum.attr.IntegratedGradients
assert captum.attr._core.layer.grad_cam.LayerGradCam is attr.LayerGradCam and NeuronGradient is attr.NeuronGradient
assert base is sys.modules["enodo.captum.attr._models.base"]
assert captum.__name__ == "enodo.captum" and captum.__spec__.name == "enodo.captum"
"""


@pytest.mark.parametrize("before", ["", "import captum.attr", HIDE], ids=["fresh", "imported before", "not there"])
def test_import_captum_resolves_here(before: str) -> None:
    run(before + "\nimport sys, enodo.captum\nenodo.captum.install()\n" + IMPORTS)


def test_uninstall_restores_what_was_imported() -> None:
    run("""
    import sys, enodo.captum
    import captum.attr, captum.metrics
    finders, modules = list(sys.meta_path), dict(sys.modules)
    enodo.captum.install(); enodo.captum.install()
    import captum.attr
    assert captum.attr is enodo.captum.attr
    enodo.captum.uninstall(); enodo.captum.uninstall()
    assert sys.meta_path == finders
    assert {k: v for k, v in sys.modules.items() if k in modules} == modules
    assert not {k for k in sys.modules.keys() - modules.keys() if k.split(".")[0] == "captum"}
    import captum, captum.attr
    assert "enodo" not in captum.attr.IntegratedGradients.__module__
    """)


def test_uninstall_leaves_nothing_where_nothing_was() -> None:
    run("""
    import sys, enodo.captum
    finders, modules = list(sys.meta_path), dict(sys.modules)
    enodo.captum.install()
    from captum.attr import Saliency
    enodo.captum.uninstall()
    assert sys.meta_path == finders and sys.modules == modules
    import captum.attr
    assert captum.attr.Saliency is not Saliency
    """)


def test_a_part_that_is_not_offered_is_not_taken_from_the_real_package() -> None:
    run("""
    import sys, enodo.captum
    enodo.captum.install()
    try:
        import captum.not_there
    except ModuleNotFoundError as error:
        assert "there is no enodo.captum.not_there" in str(error) and error.name == "captum.not_there"
    else:
        raise SystemExit("imported")
    """)


def test_the_door_does_not_need_captum() -> None:
    run("import sys, enodo.captum.attr\nassert not [m for m in sys.modules if m.split('.')[0] == 'captum']")
