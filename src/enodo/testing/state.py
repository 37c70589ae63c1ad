"""`State`: everything about a model, its inputs and the process that an explanation has to leave as it was found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.backends.cuda import flash_sdp_enabled, math_sdp_enabled, mem_efficient_sdp_enabled

from enodo.core import tree as trees
from enodo.core.draws import state_of


class State:
    """A record made before; `changes()` compares with what is there now."""

    def __init__(self, model: Callable[..., Any], inputs: Any) -> None:
        self.model, self.inputs = model, inputs
        self.kept: list[Any] = []  # so that the id of an object is not given to another
        self.before = dict(self._facts())

    def changes(self) -> list[str]:
        """What is not as it was, in words; empty where all is."""
        now = dict(self._facts())
        names = [*self.before, *(n for n in now if n not in self.before)]
        return [name for name in names if self.before.get(name) != now.get(name)]

    def _facts(self) -> Iterator[tuple[str, Any]]:
        yield from self._process()
        for path, t in trees.leaves(self.inputs):
            if isinstance(t, Tensor):
                yield from self._tensor("inputs" + trees.spell(path), t)
        if isinstance(self.model, nn.Module):
            for name, module in self.model.named_modules():
                yield from self._module(f"model.{name}".rstrip("."), module)
        for name, value in vars(nn.modules.module).items():
            if isinstance(value, dict) and name.startswith("_global"):
                yield f"torch.nn.modules.module.{name}", self._identities(value)

    def _process(self) -> Iterator[tuple[str, Any]]:
        yield "torch's global random state", digest(state_of(torch.default_generator))
        if torch.cuda.is_available():
            yield "torch's random state on the GPU", digest(torch.cuda.get_rng_state())
        state: Any = np.random.get_state()  # noqa: NPY002  the global generator is what must not move
        yield "numpy's global random state", (state[1].tobytes(), state[2:])
        yield "Python's global random state", random.getstate()
        yield "whether gradients are recorded", torch.is_grad_enabled()
        yield "inference mode", torch.is_inference_mode_enabled()
        yield (
            "the kernels that attention may use",
            (flash_sdp_enabled(), mem_efficient_sdp_enabled(), math_sdp_enabled()),
        )
        yield "the default dtype", torch.get_default_dtype()
        yield "the function modes that are active", torch._C._len_torch_function_stack()

    def _module(self, name: str, module: nn.Module) -> Iterator[tuple[str, Any]]:
        for attribute, value in vars(module).items():
            yield f"{name}.{attribute}", self._identities(value)
        yield f"the class of {name}", self._identities(vars(type(module)))
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for attribute, t in own:
            yield from self._tensor(f"{name}.{attribute}", t)

    def _tensor(self, name: str, t: Tensor) -> Iterator[tuple[str, Any]]:
        """Nothing may be written, not even for a time: another thread may be reading it."""
        yield f"the numbers in {name}", digest(t)
        yield f"writes to {name}", None if t.is_inference() else t._version
        yield f"the storage of {name}", t.data_ptr()
        yield f"requires_grad of {name}", t.requires_grad
        grad = t.grad if t.is_leaf else None
        yield f"grad of {name}", None if grad is None else (self._identities(grad), digest(grad))
        yield f"hooks on {name}", len(t._backward_hooks or ())

    def _identities(self, value: Any) -> Any:
        """Which objects these are; the entries of a dict or list each."""
        self.kept.append(value)
        if isinstance(value, (bool, int, float, str, type(None))):
            return value
        if isinstance(value, (dict, list)) or hasattr(value, "items"):
            entries = list(value.items() if hasattr(value, "items") else enumerate(value))
            self.kept.append(entries)
            return id(value) if len(entries) > 999 else [(k, id(v)) for k, v in entries]
        return id(value)


def digest(t: Tensor) -> bytes:
    """A fingerprint of shape, dtype and bits of a tensor."""
    plain = t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{t.dtype}{tuple(t.shape)}".encode() + plain).digest()
