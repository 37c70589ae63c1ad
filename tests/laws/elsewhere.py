"""Another device without one: tensors that say they lie there, computed on the CPU, and strict about what meets.

Torch lets Python stand for an accelerator. Its tensors have no memory of their own, passes back through them run in a
thread of the device, and what a GPU would refuse is refused: tensors of two devices in one operation, numbers read
without a copy. `python -m tests.laws.elsewhere` asks every method about zoo models there and tells what is not as it is
on the CPU; a process of its own, since a device cannot be taken back.
"""

from __future__ import annotations

import copy
import sys
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from enodo.core import tree as trees
from enodo.testing import Case
from enodo.testing.case import distance, parts
from tests.laws.ask import case_of, one_place, rotated, trial

NAME = "elsewhere"
SHARE = 12  # of all questions, one in so many is asked
FUSED = ("lstm", "gru", "sequence first")  # whose kernels torch has for real accelerators only
BREAKING_OFF = ("full_grad",)  # a pass back, which ends the process where Python stands for the device
_aten = torch.ops.aten
_BETWEEN = {_aten.copy_.default, _aten._to_copy.default}  # operations that tensors of two devices may meet in
_INDEXED = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class Away(Tensor):
    """A tensor there; `held` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.size(), **shape, device=f"{NAME}:0")
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Machine(TorchDispatchMode):
    """While it is on, tensors can be made there."""

    def __enter__(self) -> Any:
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(False)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation done on the CPU, its result there if its operands are or if it is asked to be."""
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    away, here = [t for t in given if isinstance(t, Away)], [t for t in given if not isinstance(t, Away)]
    check(func, args, away, here)
    device = kwargs.get("device")
    there = torch.device(device).type == NAME if device is not None else bool(away)
    if func is _aten.copy_.default:
        there = isinstance(args[0], Away)
    plain = dict(kwargs) | ({"device": torch.device("cpu")} if device is not None and there else {})
    held = {id(t.held): t for t in away}
    out = func(*tree_map(_held, args), **tree_map(_held, plain))

    def shown(o: Any) -> Any:
        return held.get(id(o), Away(o) if there else o) if isinstance(o, Tensor) else o

    out = tree_map(shown, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there and away else out


def check(func: Any, args: Any, away: list[Away], here: list[Tensor]) -> None:
    """Refuse what a GPU refuses; single numbers of the CPU may meet anything, and so may indices."""
    if func in _INDEXED:
        values = [v for v in args[2:3] if isinstance(v, Tensor) and v.ndim]
        mixed = any(isinstance(t, Away) != bool(away) for t in (args[0], *values))
    else:
        mixed = bool(away) and any(t.ndim for t in here) and func not in _BETWEEN
    if mixed:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({func})")


def _held(t: Any) -> Any:
    return t.held if isinstance(t, Away) else t


def sent(tree: Any) -> Any:
    """Copies of tensors, there."""
    return trees.map_tree(lambda t: Away(t.detach().clone()) if isinstance(t, Tensor) else t, tree)


def moved(case: Case) -> Case:
    """A case whose model and inputs are there."""
    model = copy.deepcopy(case.model)
    for module in model.modules() if isinstance(model, nn.Module) else ():
        for name, p in module._parameters.items():
            module._parameters[name] = None if p is None else nn.Parameter(Away(p.data), p.requires_grad)
        for name, b in module._buffers.items():
            module._buffers[name] = None if b is None else Away(b)
    whole = {name: sent(getattr(case, name)) for name in ("inputs", "baseline", "args", "target")}
    return replace(case, model=model, kwargs=sent(dict(case.kwargs)), **whole)


def compared(method: str, name: str, number: int) -> str:
    """What is wrong with the answer to a question there; nothing where it is the answer on the CPU."""
    case = case_of(name)
    wrt, of = one_place(method, case, number)
    expected = trial(method, case, wrt, of)()
    try:
        with Machine():
            found = parts(trial(method, moved(case), wrt, of)())
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    if any(t.device.type != NAME for t in found):
        return f"lies on {[str(t.device) for t in found]}"
    gap = distance([_held(t) for t in found], parts(expected))
    return "" if gap < 1e-9 else f"differs by {gap:.1e}"


def main() -> None:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as set_up

    set_up(NAME)
    warnings.simplefilter("ignore")
    torch.autograd.set_multithreading_enabled(False)
    first = Away(torch.ones(1)).requires_grad_()
    torch.autograd.grad(first.sum(), first)  # what torch makes for a device at its first pass back is made now
    asked = [q for q in rotated(SHARE) if q[0] not in BREAKING_OFF and q[1] not in FUSED]
    for method, name, number in asked:
        if wrong := compared(method, name, number):
            sys.stdout.write(f"{method} on {name!r} ({number}): {wrong.splitlines()[0]}\n")
    sys.stdout.write(f"{len(asked)} asked\n")


if __name__ == "__main__":
    main()
