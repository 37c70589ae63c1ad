"""What only one room may know, and what no room may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from tests.architecture.source import Module, package

Check = Callable[[Module], Iterator[str]]

HOOKS = re.compile(r"^(register_\w*hook\w*|_(forward|backward)\w*_hooks|_global_\w*hooks)$")
HOOK_FILES = {"core/points.py", "testing/state.py"}  # the second only counts what the first has left behind
MODES = re.compile(r"^(TorchFunctionMode|TorchDispatchMode)$")
MODE_FILES = {"core/watch.py", "core/rules.py", "core/partial.py", "core/record.py", "core/columns.py", "core/draws.py"}
MODE_ROOMS = ("rules/",)
DERIVATIVES = re.compile(r"^(autograd|backward|vjp|jvp|jacrev|jacfwd|enable_grad|requires_grad_)$")
READERS = ("captum/", "show/")

PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _names(module: Module) -> Iterator[tuple[int, str]]:
    """Every name used: plain, as an attribute, imported, or asked for by a string with getattr."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((node.lineno, part) for alias in node.names for part in alias.name.split("."))
            if isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, part) for part in (node.module or "").split("."))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr"}:
            yield from ((node.lineno, str(name.value)) for name in node.args[1:2] if isinstance(name, ast.Constant))


def _uses(module: Module, pattern: re.Pattern[str], why: str) -> Iterator[str]:
    for line, name in _names(module):
        if pattern.match(name):
            yield f"{module.name}:{line}: {name}: {why}"


def hooks(module: Module) -> Iterator[str]:
    if module.name not in HOOK_FILES:
        yield from _uses(module, HOOKS, f"only {', '.join(sorted(HOOK_FILES))} knows hooks")


def modes(module: Module) -> Iterator[str]:
    if module.name not in MODE_FILES and not module.name.startswith(MODE_ROOMS):
        yield from _uses(module, MODES, "function modes belong to the watch, passes in part and the rules")


def derivatives(module: Module) -> Iterator[str]:
    if module.name.startswith(READERS):
        yield from _uses(module, DERIVATIVES, "the Captum door computes nothing, and pictures only read results")


def asserts(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert):
            yield f"{module.name}:{node.lineno}: `python -O` drops an assert; raise an error that says what to write"


def pickling(module: Module) -> Iterator[str]:
    why = "a file may come from anyone: safetensors and JSON only"
    for line, target, _ in module.imports():
        if target.split(".")[0] in PICKLING:
            yield f"{module.name}:{line}: {target}: {why}"
    for call, callee in module.calls():
        options = {word.arg: word.value for word in call.keywords}
        if callee == "torch.save":
            yield f"{module.name}:{call.lineno}: {callee}: {why}"
        if callee == "torch.load" and not _is(options.get("weights_only"), True):
            yield f"{module.name}:{call.lineno}: torch.load without weights_only=True: {why}"
        allowed = "allow_pickle" in options and not _is(options["allow_pickle"], False)
        if allowed or callee.endswith("read_pickle"):
            yield f"{module.name}:{call.lineno}: {callee}: {why}"


def evaluation(module: Module) -> Iterator[str]:
    for call, callee in module.calls():
        if callee in {"eval", "exec", "compile", "os.system"}:
            yield f"{module.name}:{call.lineno}: {callee}: text is data here, never code"


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


PLANTED: list[tuple[Check, str, str]] = [
    (hooks, "methods/gradient.py", "layer.register_forward_hook(f)"),
    (hooks, "core/question.py", "x.register_hook(f)"),
    (hooks, "core/question.py", "getattr(layer, 'register_full_backward_pre_hook')(f)"),
    (hooks, "core/question.py", "layer._forward_hooks.clear()"),
    (hooks, "core/question.py", "from torch.nn.modules.module import register_module_forward_hook"),
    (modes, "core/question.py", "from torch.overrides import TorchFunctionMode"),
    (modes, "methods/lrp.py", "import torch\nclass A(torch.overrides.TorchFunctionMode): ..."),
    (derivatives, "captum/attr.py", "import torch\ntorch.autograd.grad(y, x)"),
    (derivatives, "captum/attr.py", "from torch.func import vjp"),
    (derivatives, "show/image.py", "y.backward()"),
    (asserts, "core/target.py", "def f(x):\n    assert x > 0, 'x'"),
    (pickling, "io/store.py", "import pickle"),
    (pickling, "io/store.py", "from joblib import load"),
    (pickling, "io/store.py", "torch.save(x, path)"),
    (pickling, "io/store.py", "torch.load(path)"),
    (pickling, "io/store.py", "torch.load(path, weights_only=False)"),
    (pickling, "io/store.py", "np.load(path, allow_pickle=flag)"),
    (pickling, "io/store.py", "pd.read_pickle(path)"),
    (evaluation, "cli/main.py", "eval(option)"),
]
ALLOWED: list[tuple[Check, str, str]] = [
    (hooks, "core/points.py", "layer.register_forward_hook(f)"),
    (modes, "core/watch.py", "from torch.overrides import TorchFunctionMode"),
    (modes, "rules/lrp.py", "from torch.overrides import TorchFunctionMode"),
    (derivatives, "core/question.py", "torch.autograd.grad(y, x)"),
    (pickling, "io/store.py", "torch.load(path, weights_only=True)"),
    (pickling, "io/store.py", "np.load(path, allow_pickle=False)"),
    (pickling, "io/store.py", "safetensors.torch.load_file(path)"),
    (evaluation, "cli/main.py", "model.eval()"),
    (evaluation, "core/text.py", "re.compile('x')"),
]
CHECKS = sorted({check for check, _, _ in PLANTED}, key=lambda check: check.__name__)


@pytest.mark.parametrize("check", CHECKS)
def test_the_boundary_holds(check: Check) -> None:
    found = [line for module in package() for line in check(module)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("check", "name", "text"), PLANTED)
def test_a_planted_violation_is_seen(check: Check, name: str, text: str) -> None:
    assert list(check(Module(name, text)))


@pytest.mark.parametrize(("check", "name", "text"), ALLOWED)
def test_what_is_right_is_let_through(check: Check, name: str, text: str) -> None:
    assert not list(check(Module(name, text)))
