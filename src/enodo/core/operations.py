"""Operations, as a function mode meets them: by one name however they are spelt, and by the line that called them."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from .errors import is_users
from .products import done

Path = tuple[Any, ...]

_SAME = {
    "iadd": "add", "radd": "add", "isub": "sub", "subtract": "sub", "imul": "mul", "rmul": "mul", "multiply": "mul",
    "truediv": "div", "itruediv": "div", "idiv": "div", "divide": "div", "true_divide": "div", "ipow": "pow",
    "expit": "sigmoid", "gammaln": "lgamma", "psi": "digamma",
    "negative": "neg", "absolute": "abs", "clip": "clamp", "fix": "trunc",
    "concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "swapdims": "transpose", "imatmul": "matmul",
    "greater": "gt", "moveaxis": "movedim", "linalg_matmul": "matmul", "arctan": "atan", "arctanh": "atanh",
    "arcsin": "asin", "arccos": "acos", "arcsinh": "asinh", "arccosh": "acosh",
    "trapz": "trapezoid", "to_copy": "to", "lift_fresh_copy": "clone", "unsafe_view": "view", "unsafe_index": "index",
    "sparse_mm": "mm", "spmm": "mm", "dsmm": "mm", "hsmm": "hspmm", "saddmm": "sspaddmm", "sparse_addmm": "addmm",
}  # fmt: skip
_IN_PLACE_OPERATORS = frozenset("iadd isub imul itruediv idiv ipow imatmul ifloordiv imod setitem".split())
_ABOUT = frozenset(  # what is asked about a tensor, not about its values
    "size dim ndimension numel nelement stride is_floating_point is_complex element_size get_device len is_contiguous"
    " is_inference shape dtype device ndim layout requires_grad is_leaf grad_fn is_cuda is_sparse is_meta".split()
)
_HOMES = (torch, Tensor, F, torch.special, *(getattr(torch._C, f"_{name}") for name in ("nn", "fft", "linalg")))
_OWN: set[str] = set()  # names of operations that are not torch's
_CONSTANT = "_made_of_parameters"


@dataclass(frozen=True)
class Spelling:
    """What a function that a mode is handed stands for."""

    name: str  # one for all spellings: F.relu, torch.relu, Tensor.relu_, x.relu() are "relu"
    in_place: bool  # whether it writes into its first argument
    composite: bool  # whether it is Python made of other operations, that can be looked into
    about: bool  # whether it asks about a tensor, not about its values


@functools.cache
def spelling(func: Callable[..., Any]) -> Spelling:
    """The spelling of a function that takes tensors."""
    own = getattr(func, "__name__", type(func).__name__)
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):  # as in a graph of torch.export
        space, overloaded, *_ = str(func).split(".")
        own = overloaded if space == "aten" else f"{space}.{overloaded}"
    if own in ("__get__", "__set__"):  # a property such as x.T
        own = getattr(getattr(func, "__self__", None), "__name__", own) + ("_" if own == "__set__" else "")
    bare = own.strip("_")
    in_place = bare in _IN_PLACE_OPERATORS if own.startswith("__") else own.endswith("_")
    composite = isinstance(func, types.FunctionType) and func.__module__.startswith("torch.")
    if bare.startswith("adaptive_max_pool") and not isinstance(func, types.FunctionType):
        bare = bare.removesuffix("_with_indices") + "_with_indices"  # torch's own, which always gives them
    bare = bare.removeprefix("special_")  # torch.special.erf is torch.erf
    name = _SAME.get(bare, bare)
    return Spelling(name, in_place, composite, name in _ABOUT)


def is_operation(name: str) -> bool:
    """Whether there is an operation of this name; those of torch.ops have their namespace in front."""
    spelt = name, f"{name}_", f"__{name}__"
    space, dot, own = name.partition(".")
    if dot:
        return space.isidentifier() and hasattr(getattr(torch.ops, space), own)
    return name in _OWN or any(hasattr(home, own) for home in _HOMES for own in spelt)


def is_about(func: Callable[..., Any]) -> bool:
    """Whether a call asks about a tensor, or reads a property of it, which may be one that is a tensor (x.T)."""
    return spelling(func).about or func.__name__ == "__get__"


def out_of_place(func: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function that computes what an in-place one writes."""
    if not spelling(func).in_place:
        return func  # it has an argument `inplace`
    if name == "setitem":
        return setitem
    found: Callable[..., Any] = next(getattr(o, name) for o in (Tensor, torch, F) if hasattr(o, name))
    return found


def rests(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a call is a dropout outside of training, which gives back what it was given, also `inplace`."""
    training = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return "dropout" in name and not training


def operation(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a function of a tensor be an operation that modes see, and tables have rules for, under its own name."""

    @functools.wraps(fn)
    def seen(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if has_torch_function_unary(x):
            out: Tensor = handle_torch_function(seen, (x,), x, *args, **kwargs)
            return out
        return fn(x, *args, **kwargs)

    _OWN.add(fn.__name__)
    return seen


@operation
def setitem(x: Tensor, index: Any, value: Any) -> Tensor:
    """x[index] = value, out of place."""
    y = x.clone()
    y[index] = value
    return y


@functools.cache
def opened(func: Callable[..., Any]) -> Callable[..., Any]:
    """A composite whose own dispatch is switched off, so that the operations inside it reach the mode."""
    if not isinstance(func, types.FunctionType):
        raise TypeError(f"{func!r} is not made of Python")
    names = [name for name in func.__globals__ if name.startswith("has_torch_function")]
    space = {**func.__globals__, **{name: lambda *tensors: False for name in names}}
    copy = types.FunctionType(func.__code__, space, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def is_live(value: Any) -> bool:
    """Whether a value is, or holds, a tensor on the path of gradients; the model's parameters are constants."""
    if type(value) is Tensor:  # isinstance asks slowly whether it is a Parameter
        return value.requires_grad and not hasattr(value, _CONSTANT)
    if isinstance(value, Tensor):
        return value.requires_grad and not (isinstance(value, nn.Parameter) or hasattr(value, _CONSTANT))
    return isinstance(value, (list, tuple)) and any(map(is_live, value))


def mark_constants(args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
    """Remember what is made of parameters alone, in a pass whose graph reaches back to them."""
    if any(t.requires_grad for _, t in tensors_in(args, kwargs)):
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, Tensor) and t.requires_grad:
                setattr(t, _CONSTANT, True)


def unmark(t: Any) -> None:
    """Forget that a tensor was made of parameters alone: something else has been written into it."""
    if hasattr(t, _CONSTANT):
        delattr(t, _CONSTANT)


def tensors_in(args: Any, kwargs: Mapping[str, Any]) -> Iterator[tuple[Path, Tensor]]:
    """The tensors among the arguments of a call, also those in lists; with where they stand."""
    for key, value in (*enumerate(args), *kwargs.items()):
        if isinstance(value, Tensor):
            yield (key,), value
        elif isinstance(value, (list, tuple)):
            for i, entry in enumerate(value):
                if isinstance(entry, Tensor):
                    yield (key, i), entry


class Bound:
    """A call with all its arguments bound except its floating-point tensors, the operands."""

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func, self.kwargs = func, kwargs
        # the model may go on with a list of its own
        self.args: tuple[Any, ...] = tuple([*a] if type(a) is list else a for a in args)
        self.paths: list[Path] = []
        self.operands: list[Tensor] = []
        self.fixed: list[Tensor] = []  # the tensors of other dtypes: masks and indices
        for path, t in tensors_in(args, kwargs):
            if t.is_floating_point() or t.is_complex():
                self.paths.append(path)
                self.operands.append(t)
            else:
                self.fixed.append(t)

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def named(self, out: tuple[Tensor, ...]) -> Any:
        """Values and indices, under the names that torch gives them where the call has them from torch."""
        kind = getattr(torch.return_types, self.func.__name__, None)
        return out if kind is None else kind(out)

    def __call__(self, *operands: Tensor) -> Any:
        """The result with these operands in the place of the call's own."""
        args, kwargs = self._with(self.paths, operands)
        return done(self.func, args, kwargs)

    def as_given(self) -> Any:
        """The result with the call's own operands."""
        return done(self.func, self.args, self.kwargs)

    def _with(self, paths: Sequence[Path], tensors: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with these tensors at these paths."""
        args: list[Any] = list(self.args)
        kwargs = dict(self.kwargs)
        for path, t in zip(paths, tensors, strict=True):
            key = path[0]
            holder: Any = args if isinstance(key, int) else kwargs
            if len(path) > 1:
                entries = list(holder[key])
                entries[path[1]] = t
                holder[key] = tuple(entries) if isinstance(holder[key], tuple) else entries
            else:
                holder[key] = t
        return args, kwargs

    def placed(self, fixed: Sequence[Tensor]) -> Bound:
        """The call with other masks and indices."""
        own = set(self.paths)
        paths = [path for path, _ in tensors_in(self.args, self.kwargs) if path not in own]
        args, kwargs = self._with(paths, fixed)
        return Bound(self.func, tuple(args), kwargs)

    def traced(self, xs: Sequence[Tensor], live: Sequence[bool]) -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
        """The call in a graph of its own: operands, result, further results."""
        with torch.enable_grad():
            alone = [x.detach().requires_grad_(wanted) for x, wanted in zip(xs, live, strict=True)]
            y, *aux = parts(self(*alone))
        return alone, y, tuple(aux)

    def pulled_at(self, xs: Sequence[Tensor], live: Sequence[bool], gy: Tensor) -> list[Tensor | None]:
        """gy pulled back to live operands through the call at xs; also within `torch.vmap`, which allows no leaves."""
        wanted = [i for i, of in enumerate(live) if of]

        def at(*some: Tensor) -> Tensor:
            whole = list(xs)
            for i, x in zip(wanted, some, strict=True):
                whole[i] = x
            return parts(self(*whole))[0]

        found = dict(zip(wanted, torch.func.vjp(at, *(xs[i] for i in wanted))[1](gy), strict=True))
        return [found.get(i) for i in range(len(live))]


def computes(func: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Whether a call gives one tensor of numbers, on the path; else it asks for a shape, say."""
    y, *aux = parts(func(*args, **kwargs)) or (None,)
    return isinstance(y, Tensor) and y.requires_grad and not any(isinstance(t, Tensor) and t.requires_grad for t in aux)


def parts(out: Any) -> tuple[Tensor, ...]:
    """What a call returned, as a tuple."""
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


@dataclass(frozen=True)
class Spot:
    """Where an operation was called from: a line of code, and the module that was running."""

    file: str
    line: int
    module: str  # its dotted name in the outermost module that was running; "" for that one, or for none

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f", in module {self.module!r}" if self.module else "")


def running_module() -> nn.Module | None:
    """The innermost module that is now running."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self") if "self" in frame.f_code.co_varnames else None
        if isinstance(owner, nn.Module):
            return owner
        frame = frame.f_back
    return None


def caller() -> Spot:
    """The innermost line outside torch and this library that is now running."""
    file, line = "", 0
    running: list[nn.Module] = []
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if not file and is_users(frame):
            file, line = frame.f_code.co_filename, frame.f_lineno
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            running.append(owner)
        frame = frame.f_back
    name = ""
    if running:
        name = next((n for n, m in running[-1].named_modules() if m is running[0]), "")
    return Spot(file, line, name)
