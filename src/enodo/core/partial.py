"""Passes that compute only what a perturbation can change, from one pass at the inputs that is kept.

The pass at the inputs of one row is recorded, operation by operation. In a pass of k perturbed points of that row the
model runs again, line by line; but what has not met the perturbation is taken from the record, and of maps of which a
window differs only the windows that can differ are computed (`reach`). What an operation does to rows is known of those
named here; any other is done on all k rows, so that the result is that of a full pass, but for rounding.

What the model is handed in the place of a tensor that is only known in this way is one without data (on torch's "meta"
device): code that reaches past the mode fails, and then the pass is made in full. What such code makes of a tensor with
all its rows (TorchScript, numpy, `vmap`) arrives as a tensor that no operation in sight has made: if it was not there
in the recorded pass and is none of the model's own, any row of it may differ. Once a number has been read out of a
value that may differ, nothing more is taken from the record. Nor is a pass made in part if the model writes into a
tensor that another name stands for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from . import tree as trees
from .operations import is_about, out_of_place, rests, spelling, tensors_in
from .products import done
from .reach import SLIDING, Patch, pointwise
from .record import Record, Unsuited, tensors_of, writes_into
from .transforms import storage_of

# of a map (k, C, H, W), each place by itself
_POINTWISE = frozenset(
    "relu relu6 gelu silu mish elu selu celu leaky_relu hardtanh hardswish hardsigmoid sigmoid tanh softplus softsign"
    " logsigmoid exp log sqrt rsqrt square abs neg clamp clamp_min clamp_max erf sin cos pow add sub rsub mul div"
    " maximum minimum lerp batch_norm dropout dropout2d feature_dropout alpha_dropout contiguous clone detach to float"
    " double half bfloat16".split()
)
# of rows in front, each row by itself
_BY_ROW = _POINTWISE | frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear layer_norm group_norm rms_norm"
    " instance_norm max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d"
    " adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate"
    " scaled_dot_product_attention embedding pad prelu glu".split()
)
# of entries that only move: where rows stay in front tells the shape of the result
_MOVES = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze transpose permute movedim getitem expand view_as".split()
)
_ALONG = frozenset("softmax log_softmax mean sum amax amin var std cat stack cumsum logsumexp".split())  # one dimension


_VIEWS: dict[str, Any] = {"view": Tensor.reshape, "view_as": Tensor.reshape_as}  # of maps that lie as in `reach.LAID`


class Replay(TorchFunctionMode):
    """A pass of k points, given the record of one: `begin` tells what the model is given."""

    def __init__(self, record: Record, k: int, own: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.record, self.k, self.step = record, k, 0
        self.largest = 1  # bytes of the largest tensor computed
        self.read = False  # whether a number was read out of values that may differ
        self._own = {storage_of(t) for t in own} - {0}  # where the tensors lie that are the same in every pass
        self.known: WeakIdKeyDictionary = (
            WeakIdKeyDictionary()
        )  # handed out -> Patch, or the row (1, ...) they all equal
        self.free: WeakIdKeyDictionary = WeakIdKeyDictionary()  # tensors of k rows, any of which may differ anywhere
        self.even: WeakIdKeyDictionary = WeakIdKeyDictionary()  # tensors made of constants alone, in sight

    def begin(self, differ: Iterable[Tensor], same: Any) -> None:
        """Tell what the pass is given: tensors whose rows may differ, and nested values whose rows are all equal."""
        for t in differ:
            self.free[t] = True
        for _, t in trees.leaves(same):
            if isinstance(t, Tensor) and t not in self.known and t not in self.free:
                self.even[t] = True

    def ended(self) -> None:
        """A pass in part has as many steps as its record."""
        if self.step != len(self.record.kept):
            raise Unsuited

    def hand_out(self, state: Patch | Tensor) -> Tensor:
        """What the model is given for something that is known in part."""
        if isinstance(state, Patch):
            self.largest = max(self.largest, state.new.nbytes)
        base = state.base if isinstance(state, Patch) else state
        shown = torch.empty((self.k, *base.shape[1:]), dtype=base.dtype, device="meta")
        self.known[shown] = state
        return shown

    def row(self, t: Any) -> Any:
        """What the model is given for a tensor with the one row, which all k are equal to; anything else as it is."""
        return self.hand_out(t) if isinstance(t, Tensor) and t.ndim and len(t) == 1 else t

    def whole(self, value: Any) -> Any:
        """A value with all k rows of what is only known in part."""
        return trees.map_tree(self._rows, value) if isinstance(value, (tuple, list, dict)) else self._rows(value)

    def _rows(self, t: Any) -> Any:
        state = self.known.get(t) if isinstance(t, Tensor) else None
        if state is None:
            if isinstance(t, Tensor) and t.device.type == "meta":
                raise Unsuited  # it came from code that the mode does not see
            return t
        if isinstance(state, Patch):
            return state.whole()
        return state if state.shape[0] == self.k else state.contiguous().expand(self.k, *state.shape[1:])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        spelt = spelling(func)
        if spelt.name in _VIEWS and not kwargs and not any(isinstance(a, torch.dtype) for a in args):
            func = _VIEWS[spelt.name]
        given = [t for _, t in tensors_in(args, kwargs)]
        partly = [self.known[t] for t in given if t in self.known]
        about = is_about(func)
        free = self.read or any(map(self._may_differ, given))
        if not partly:
            out = done(func, args, kwargs)
            self.read = self.read or (free and not about and not any(True for _ in tensors_of(out)))
            return self._counted(spelt.name, out, free)
        if about:
            shown = [self._shown(a) for a in args]
            found = func(*shown, **kwargs)
            if not isinstance(found, Tensor):
                return found
        if spelt.name in ("setitem", "as_strided") or kwargs.get("out") is not None:
            raise Unsuited  # it tells of the memory of a tensor, of which there is none here
        writes = writes_into(func, args, kwargs)
        state = None
        if not free:
            state = self._state(spelt.name, func, args, kwargs, partly)
        if state is None:
            return self._in_full(spelt.name, func, args, kwargs, writes)
        self.step += 1
        if writes:
            self.known[args[0]] = state
            return args[0]
        return self.hand_out(state)

    def _may_differ(self, t: Tensor) -> bool:
        """Whether rows of a tensor may differ: also of one that is new and that no operation in sight has made."""
        if t in self.free:
            return True
        if t in self.known or t in self.even or t in self.record.before or t.device.type == "meta":
            return False
        return storage_of(t) not in self._own

    def _shown(self, a: Any) -> Any:
        state = self.known.get(a) if isinstance(a, Tensor) else None
        if state is None:
            return a
        base = state.base if isinstance(state, Patch) else state
        return base.expand(self.k, *base.shape[1:])

    def _state(self, name: str, func: Any, args: Any, kwargs: Any, partly: list[Any]) -> Patch | Tensor | None:
        """What is known of the result; None where all rows have to be computed."""
        kept_name, base = self._kept()
        if kept_name != name:
            raise Unsuited
        if not isinstance(base, Tensor) or not base.ndim or len(base) != 1:
            return None
        if name in ("batch_norm", "instance_norm") and _option(args, kwargs, 5, "training", False):
            return None
        if "dropout" in name and not rests(name, args, kwargs):
            return None
        if not any(isinstance(p, Patch) for p in partly):
            return base if self._by_row(name, func, args, kwargs, base) else None
        if base.ndim != 4 or any((p.base if isinstance(p, Patch) else p).ndim != 4 for p in partly):
            return None
        if name in SLIDING:
            first, *rest = args or [kwargs.pop("input")]
            patch = self.known.get(first)
            return SLIDING[name](base, patch, *rest, **kwargs) if isinstance(patch, Patch) else None
        if name == "cat" and _option(args, kwargs, 1, "dim", 0) in (1, -3):
            return self._on_windows(torch.cat, args, kwargs, base, partly)
        constants = [t for _, t in tensors_in(args, kwargs) if t not in self.known]
        if name == "batch_norm" or (name in _POINTWISE and all(map(_is_even, constants))):
            fn = out_of_place(func, name)
            return self._on_windows(
                fn, args, {**kwargs, "inplace": False} if kwargs.get("inplace") else kwargs, base, partly
            )
        return None

    def _on_windows(self, fn: Any, args: Any, kwargs: Any, base: Tensor, partly: list[Any]) -> Patch | None:
        def call(*windows: Tensor) -> Tensor:
            rest = iter(windows)

            def put(a: Any) -> Any:
                return next(rest) if isinstance(a, Tensor) and a in self.known else a

            found: Tensor = fn(
                *trees.map_tree(put, tuple(args)), **{k: trees.map_tree(put, v) for k, v in kwargs.items()}
            )
            return found

        return pointwise(base, partly, call)

    def _by_row(self, name: str, func: Any, args: Any, kwargs: Any, base: Tensor) -> bool:
        """Whether an operation on what has not met the perturbation treats each row by itself, rows in front."""
        if name in _BY_ROW:
            return True
        if name in _ALONG:
            dims = _option(args, kwargs, 1, "dim", None)
            dims = dims if isinstance(dims, (tuple, list)) else [dims]
            return all(isinstance(d, int) and d % max(base.ndim, 1) != 0 for d in dims)
        if name in _MOVES or name in ("matmul", "bmm"):
            found = func(*trees.map_tree(self._meta, tuple(args)), **kwargs)
            return isinstance(found, Tensor) and found.shape == (self.k, *base.shape[1:])
        return False

    def _meta(self, a: Any) -> Any:
        return a.to("meta") if isinstance(a, Tensor) and a not in self.known else a

    def _in_full(self, name: str, func: Any, args: Any, kwargs: Any, writes: bool) -> Any:
        target = args[0] if writes and args and args[0] in self.known else None
        real = [self.whole(a) for a in args]
        if target is not None:
            real[0] = real[0].clone()
        out = self._counted(name, done(func, real, {k: self.whole(v) for k, v in kwargs.items()}), True)
        if target is None:
            return out
        self.known[target], self.free[target] = out, True
        return target

    def _counted(self, name: str, out: Any, free: bool) -> Any:
        """Step on in the record; `free`: the result may differ in all rows."""
        found = list(tensors_of(out))
        if found:
            if self._kept()[0] != name:
                raise Unsuited
            self.step += 1
            for t in found:
                (self.free if free else self.even)[t] = True
                self.largest = max(self.largest, t.nbytes if free else 0)
        return out

    def _kept(self) -> tuple[str, Any]:
        if self.step >= len(self.record.kept):
            raise Unsuited
        return self.record.kept[self.step]


def _option(args: Any, kwargs: Any, position: int, name: str, default: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _is_even(t: Tensor) -> bool:
    """Whether a constant operand is the same at all places of a map."""
    return t.numel() == 1 or t.shape[-2:] == (1, 1)
