"""What has to be known about a model before it runs, and the putting back of what a run changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from .lasting import dataclass

_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # what acts differently in train mode


@lru_cache(maxsize=4096)
def _kind(layer: type) -> tuple[bool, bool]:
    """Of a class: whether torch may run it as one operation, and whether it acts differently in train mode."""
    return issubclass(layer, _FUSED), issubclass(layer, _IN_TRAINING)


@dataclass(frozen=True, eq=False)
class State:
    """What a pass has to know about a model beforehand."""

    weights: int = 0  # bytes of parameters and buffers
    compiled: bool = False  # a layer was compiled in place, so that its operations could not be seen
    training: bool = False  # the model, or a layer in it that acts differently then
    shortcuts: bool = False  # torch may run a layer as one fused operation, without its inner layers
    copies: Mapping[int, Tensor] = field(default_factory=dict)  # by id, of what was made under inference mode

    @staticmethod
    def of(model: Any) -> State:
        """The state of a model; of a plain function nothing is known."""
        if not isinstance(model, nn.Module):
            return State()
        weights, compiled, training, shortcuts = 0, False, in_train_mode(model), False
        copies: dict[int, Tensor] = {}
        todo, met = [model], {id(model)}
        for m in todo:  # grows as it goes; a loop of our own, since `modules()` costs a small model's whole pass
            if inner := m._modules:
                for child in inner.values():
                    if child is not None and id(child) not in met:
                        met.add(id(child))
                        todo.append(child)
            fused, wary = _kind(type(m))  # type: ignore[arg-type]  # mypy holds classes of modules for unhashable
            compiled = compiled or m._compiled_call_impl is not None or "_orig_mod" in inner
            shortcuts = shortcuts or fused
            training = training or (wary and m.training)
            for held in (m._parameters, m._buffers):
                for t in held.values() if held else ():
                    if t is not None:
                        weights += t.nbytes
                        if t.is_inference():
                            copies[id(t)] = t.detach().clone()
        return State(weights, compiled, training, shortcuts, copies)

    def stand_ins(self, model: Any) -> Mapping[int, Tensor]:
        """By id, what calls of a pass are to be given in the place of: of buffers that it would change, copies."""
        if not self.training:
            return self.copies
        return {**self.copies, **{id(b): b.detach().clone() for b in model.buffers()}}

    def contexts(self, model: Any) -> list[Any]:
        """What a pass has to run within."""
        around: list[Any] = [as_found(model)] if self.training else []
        if self.compiled and hasattr(torch.compiler, "set_stance"):
            around.append(_without_compiling())
        return around


def in_train_mode(model: nn.Module) -> bool:
    """Whether a model is in train mode; frozen TorchScript and graphs of torch.export have none that could change."""
    return getattr(model, "training", False) and "train" not in vars(model)


def eager(model: Any) -> Any:
    """The model itself, out of wrappers that hide its layers and operations (of torch.compile, torch.export ...)."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return eager(model.module)
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    if isinstance(model, nn.Module):
        inner = model._modules["_orig_mod"] if "_orig_mod" in model._modules else None  # noqa: SIM401  no `get` in TorchScript
    else:
        inner = getattr(model, "_torchdynamo_orig_callable", None)
    return model if inner is None else eager(inner)


@contextmanager
def _without_compiling() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):  # made where it is entered: torch changes the stance at once
        yield


@contextmanager
def as_found(model: Any) -> Iterator[None]:
    """A model in train mode changes buffers (batch statistics; the pass is given copies) and draws random numbers.

    Puts back buffers that were exchanged for others, and the state of the random generators.
    """
    kept = [(m._buffers, dict(m._buffers)) for m in model.modules() if m._buffers]
    try:
        with torch.random.fork_rng(enabled=True):
            yield
    finally:
        for now, before in kept:
            now.update(before)
