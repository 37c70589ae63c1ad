"""Other libraries of relevance propagation, called only: zennit, and what of lxt runs with today's transformers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
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


def lxt_llama(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Have lxt patch the Llama of transformers ("attnLRP" or "cp_LRP") until the test ends.

    The packages around lxt's module for Llama import models that transformers no longer has; they are passed by.
    """
    spec = importlib.util.find_spec("lxt")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs lxt")
    folder = next(iter(spec.submodule_search_locations))
    for name in ("lxt.efficient", "lxt.efficient.models"):
        package = types.ModuleType(name)
        package.__path__ = ["/".join([folder, *name.split(".")[1:]])]
        monkeypatch.setitem(sys.modules, name, package)
    patches: dict[Any, Callable[[Any], bool]] = getattr(importlib.import_module("lxt.efficient.models.llama"), kind)
    for target, patch in patches.items():
        for name in ("forward", "eager_attention_forward", "ALL_ATTENTION_FUNCTIONS"):
            if hasattr(target, name):
                kept = getattr(target, name)
                monkeypatch.setattr(target, name, dict(kept) if isinstance(kept, dict) else kept)
        patch(target)
        if type(getattr(target, "ALL_ATTENTION_FUNCTIONS", None)) is dict:
            target.ALL_ATTENTION_FUNCTIONS = _Functions(target.ALL_ATTENTION_FUNCTIONS)
