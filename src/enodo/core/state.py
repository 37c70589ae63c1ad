"""What has to be known about a model before it runs, and the putting back of what a run changes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .lasting import dataclass
from .points import is_hooked
from .threads import Switch

_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # what acts differently in train mode
_OVER_ROWS = nn.modules.batchnorm._BatchNorm
_SPREAD = (nn.DataParallel, nn.parallel.DistributedDataParallel)

Versions = tuple[tuple[int, int], ...]  # of buffers: which tensors they are, and how often each was written into
_quiet: weakref.WeakKeyDictionary[nn.Module, Versions] = weakref.WeakKeyDictionary()  # buffers no pass has changed


class Kind(NamedTuple):
    """What is uncommon about a class of layers."""

    fused: bool  # torch may run it as one operation
    wary: bool  # it acts differently in train mode
    compiled: bool
    own: bool  # it may write into buffers in eval mode, which torch's own modules do not
    draws: bool  # it may draw random numbers then, as two of torch's own do


@lru_cache(maxsize=4096)
def _kind(layer: type) -> Kind | None:
    """What is uncommon about a class of layers, if anything."""
    compiled = _is_compiled(getattr(layer, "forward", None))  # TorchScript has none
    own = not layer.__module__.startswith("torch.nn.")
    draws = own or issubclass(layer, (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d))
    kind = Kind(issubclass(layer, _FUSED), issubclass(layer, _IN_TRAINING), compiled, own, draws)
    return kind if any(kind) else None


def _layers(model: nn.Module) -> list[nn.Module]:
    """The model and all layers in it; a loop of our own, since `modules()` costs a small model's whole pass."""
    found, met = [model], {id(model)}
    for m in found:  # grows as it goes
        if m._modules:
            for child in m._modules.values():
                if child is not None and id(child) not in met:
                    met.add(id(child))
                    found.append(child)
    return found


def _is_compiled(fn: Any) -> bool:
    """Whether a function is what torch.compile made of another."""
    return hasattr(fn, "_torchdynamo_orig_callable")


@dataclass(frozen=True, eq=False)
class State:
    """What a pass has to know about a model beforehand."""

    weights: int = 0  # bytes of parameters and buffers
    compiled: bool = False  # a layer was compiled in place, so that its operations could not be seen
    training: bool = False  # the model, or a layer in it that acts differently then
    shortcuts: bool = False  # torch may run a layer as one fused operation, without its inner layers
    copies: Mapping[int, Tensor] = field(default_factory=dict)  # by id, of what was made under inference mode
    versions: Versions = ()  # of the buffers that the model itself may write into
    mixes: bool = False  # a layer takes statistics over the rows of a pass
    fixed: bool = True  # whether a layer may normalise by fixed statistics: something holds buffers
    draws: bool = True  # whether it may draw random numbers; a model of torch's own layers in eval mode does not

    @staticmethod
    def of(model: Any) -> State:
        """The state of a model; of a plain function nothing is known."""
        if not isinstance(model, nn.Module):
            return State()
        weights, compiled, training, shortcuts = 0, False, in_train_mode(model), False
        mixes = fixed = draws = False
        copies: dict[int, Tensor] = {}
        versions: list[tuple[int, int]] = []
        held: list[Tensor | None] = []
        for m in _layers(model):
            compiled = compiled or m._compiled_call_impl is not None
            draws = draws or getattr(m, "training", False) or is_hooked(m)  # frozen TorchScript has no mode
            if "forward" in vars(m):
                compiled, draws = compiled or _is_compiled(m.forward), True
            if m._modules:
                compiled = compiled or "_orig_mod" in m._modules
            if m._parameters:
                held += m._parameters.values()
            if m._buffers:
                fixed = True
                held += m._buffers.values()
            if kind := _kind(type(m)):  # type: ignore[arg-type]  # mypy holds them for unhashable
                compiled, shortcuts, draws = compiled or kind.compiled, shortcuts or kind.fused, draws or kind.draws
                training = training or (kind.wary and m.training)
                mixes = mixes or (kind.wary and m.training and isinstance(m, _OVER_ROWS))
                own = m._buffers.values() if kind.own else ()
                versions += [(id(t), t._version) for t in own if t is not None and not t.is_inference()]
        for t in held:
            if t is not None:
                weights += t.nbytes
                if t.is_inference():
                    copies[id(t)] = t.detach().clone()
        return State(weights, compiled, training, shortcuts, copies, tuple(versions), mixes, fixed, draws)

    def writes(self, model: Any) -> bool:
        """Whether a pass may change buffers: in train mode, and where it is not known that the last one did not."""
        return self.training or (bool(self.versions) and _quiet.get(model) != self.versions)

    def stand_ins(self, model: Any) -> Mapping[int, Tensor]:
        """By id, what calls of a pass are to be given in the place of: of buffers that it would change, copies."""
        if not self.writes(model):
            return self.copies
        return {**self.copies, **{id(b): b.detach().clone() for b in model.buffers()}}

    def contexts(self, model: Any, stand_ins: Mapping[int, Tensor], whole: bool) -> list[Any]:
        """What a pass that is given `stand_ins` has to run within; a `whole` one is not left early."""
        return [self._as_found(model, stand_ins, whole)] if self.writes(model) else []

    @contextmanager
    def _as_found(self, model: Any, stand_ins: Mapping[int, Tensor], whole: bool) -> Iterator[None]:
        """A pass that may write into buffers is given copies; puts back buffers that were exchanged for others.

        A whole pass in eval mode that changed nothing tells that the next one needs no copies, for as long as nobody
        writes.
        """
        kept = [(m._buffers, dict(m._buffers)) for m in model.modules() if m._buffers]
        try:
            yield
            changed = any(copy.is_inference() or copy._version for copy in stand_ins.values())
            if whole and not (self.training or changed or _exchanged(kept)):
                _quiet[model] = self.versions
        finally:
            for now, name, t in _exchanged(kept):
                now[name] = t


def _exchanged(kept: Sequence[tuple[Any, Mapping[str, Any]]]) -> list[tuple[Any, str, Any]]:
    """Buffers that are not those they were: where they lay, under which name, which they were.

    What holds those of TorchScript is no dict, and has neither `get` nor `update`.
    """
    moved = ((now, name, t) for now, before in kept for name, t in before.items())
    return [(now, name, t) for now, name, t in moved if name not in now or now[name] is not t]


def in_train_mode(model: nn.Module) -> bool:
    """Whether a model is in train mode; frozen TorchScript and graphs of torch.export have none that could change."""
    return getattr(model, "training", False) and "train" not in vars(model)


def eager(model: Any) -> Any:
    """The model itself, out of wrappers that hide its layers and operations (of torch.compile, torch.export ...)."""
    inner: Any
    if isinstance(model, nn.Module):
        if isinstance(model, _SPREAD):
            inner = model.module
        elif "_orig_mod" in model._modules:
            inner = model._modules["_orig_mod"]
        else:
            return model
    elif isinstance(model, torch.export.ExportedProgram):
        return model.module()
    else:
        inner = getattr(model, "_torchdynamo_orig_callable", None)
    return model if inner is None else eager(inner)


# While any thread is inside, functions that torch.compile made of others run as those others.
without_compiling = Switch(lambda: torch.compiler.set_stance("force_eager"))

# While any thread is inside, torch's attention runs as plain products: its fused forms have no second derivative.
plain_attention = Switch(lambda: sdpa_kernel(SDPBackend.MATH))
