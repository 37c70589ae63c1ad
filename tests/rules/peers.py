"""Other libraries of relevance propagation, called only: zennit, and what of lxt runs with today's transformers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn


def zennit(part: str) -> Any:
    """A module of zennit. Its import wants names of models of torchvision, for canonizers that are not used here."""
    if importlib.util.find_spec("zennit") is None:
        pytest.skip("needs zennit")
    put = {}
    if importlib.util.find_spec("torchvision") is None:
        names: dict[str, tuple[str, ...]] = {
            "torchvision": (), "torchvision.models": (), "torchvision.models.vgg": ("VGG",),
            "torchvision.models.resnet": ("Bottleneck", "BasicBlock"), "torchvision.datasets": ("ImageFolder",),
        }  # fmt: skip
        for name, classes in names.items():
            put[name] = types.ModuleType(name)
            for each in classes:
                setattr(put[name], each, type(each, (nn.Module,), {}))
    sys.modules.update(put)
    try:
        return importlib.import_module(f"zennit.{part}")
    finally:
        for name in put:
            sys.modules.pop(name, None)


def relevance_by_zennit(model: nn.Module, x: Tensor, composite: Any, target: int) -> Tensor:
    """The relevance of x for the score of a class."""
    with zennit("attribution").Gradient(model, composite) as attributor:
        scores = model(x).detach()
        start = torch.zeros_like(scores)
        start[:, target] = scores[:, target]
        _, found = attributor(x, start)
    relevance: Tensor = found
    return relevance


class _Functions(dict[str, Any]):
    """What lxt makes a plain dictionary, as transformers has it."""

    def get_interface(self, name: str, default: Any) -> Any:
        """The attention function of a name."""
        return self.get(name, default)


def _lxt(monkeypatch: pytest.MonkeyPatch, part: str) -> Any:
    """A module of lxt. The packages around it import models that transformers no longer has; they are passed by."""
    spec = importlib.util.find_spec("lxt")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs lxt")
    folder = next(iter(spec.submodule_search_locations))
    for name in ("lxt.efficient", "lxt.efficient.models"):
        package = types.ModuleType(name)
        package.__path__ = ["/".join([folder, *name.split(".")[1:]])]
        monkeypatch.setitem(sys.modules, name, package)
    return importlib.import_module(f"lxt.efficient.{part}")


def _patched(monkeypatch: pytest.MonkeyPatch, patches: dict[Any, Callable[[Any], bool]]) -> None:
    """Have patches act until the test ends."""
    for target, patch in patches.items():
        for name in ("forward", "original_forward", "eager_attention_forward", "ALL_ATTENTION_FUNCTIONS"):
            kept = getattr(target, name, None)
            if name in vars(target):
                monkeypatch.setattr(target, name, _Functions(kept) if isinstance(kept, Mapping) else kept)
            elif name == "original_forward":
                monkeypatch.setattr(target, name, None, raising=False)
        patch(target)
        if type(getattr(target, "ALL_ATTENTION_FUNCTIONS", None)) is dict:
            target.ALL_ATTENTION_FUNCTIONS = _Functions(target.ALL_ATTENTION_FUNCTIONS)


def lxt_llama(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Have lxt patch the Llama of transformers ("attnLRP" or "cp_LRP") until the test ends."""
    _patched(monkeypatch, getattr(_lxt(monkeypatch, "models.llama"), kind))


def lxt_bert(monkeypatch: pytest.MonkeyPatch, attention: Any, activations: tuple[type[nn.Module], ...]) -> None:
    """As `lxt_llama`, with lxt's patches for the parts of a BERT; its own list for BERT wants an older transformers."""
    patches = _lxt(monkeypatch, "patches")

    def forward(fn: Any, **options: bool) -> Callable[[Any], bool]:
        return lambda target: bool(patches.patch_method(fn, target, **options))

    elementwise = forward(patches.non_linear_forward, keep_original=True)
    _patched(
        monkeypatch,
        {
            nn.LayerNorm: forward(patches.layer_norm_forward),
            attention: patches.patch_attention,
            **dict.fromkeys(activations, elementwise),
        },
    )
