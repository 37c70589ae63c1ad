"""One forward pass: the model called as its user calls it, watched at some places, and left as it was found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import tree as trees
from .errors import refuse
from .places import Visit, Where, captured
from .points import Point, Stop, enter_pass, on_layer, part_of
from .rules import Rules
from .watch import Constants, Load, Watch

# Such a model runs its layers again during the backward pass, when nobody is there to set or see anything.
_RECOMPUTED = "a model that recomputes its activations (torch.utils.checkpoint)"
_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
_IN_TRAINING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # what acts differently in train mode


@dataclass(frozen=True)
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
        weights, compiled, training, shortcuts = 0, False, model.training, False
        copies: dict[int, Tensor] = {}
        todo, met = [model], {id(model)}
        for m in todo:  # grows as it goes; a loop of our own, since `modules()` costs a small model's whole pass
            for child in m._modules.values() if m._modules else ():
                if child is not None and id(child) not in met:
                    met.add(id(child))
                    todo.append(child)
            compiled = compiled or m._compiled_call_impl is not None or "_orig_mod" in m._modules
            shortcuts = shortcuts or isinstance(m, _FUSED)
            training = training or (m.training and isinstance(m, _IN_TRAINING))
            for held in (m._parameters, m._buffers):
                for t in held.values() if held else ():
                    if t is not None:
                        weights += t.nbytes
                        if t.is_inference():
                            copies[id(t)] = t.detach().clone()
        return State(weights, compiled, training, shortcuts, copies)


@dataclass(frozen=True, eq=False)
class Call:
    """A model with what it is called on: `inputs` are rows to explain, `args` and `kwargs` go along."""

    model: Callable[..., Any]
    inputs: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rows: int
    state: State

    def __call__(self, inputs: Any) -> Any:
        """A tensor is given as model(x), a tuple or list as model(*x), a mapping as model(**x)."""
        if isinstance(inputs, Mapping):
            return self.model(*self.args, **inputs, **self.kwargs)
        if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
            return self.model(*inputs, *self.args, **self.kwargs)
        return self.model(inputs, *self.args, **self.kwargs)

    def each(self, fn: Callable[[Tensor], Tensor], rows: int) -> Call:
        """The call with `fn` applied to every tensor that has one entry a row; all else passes untouched."""

        def batched(t: Any) -> Any:
            return fn(t) if isinstance(t, Tensor) and t.ndim and len(t) == self.rows else t

        inputs = trees.map_tree(batched, self.inputs)
        args = trees.map_tree(batched, self.args) if self.args else self.args
        kwargs = trees.map_tree(batched, self.kwargs) if self.kwargs else self.kwargs
        return Call(self.model, inputs, args, kwargs, rows, self.state)

    def tile(self, k: int, put: Where | None = None) -> Call:
        """The call with its rows repeated k times, point by point: (k * B, ...).

        Where the pass sets what is at `put`, the only input need not be repeated.
        """
        if k == 1:
            return self
        if put is not None and put.at_inputs and not put.ids and isinstance(self.inputs, Tensor):
            rest = replace(self, inputs=()).each(lambda t: stack(t, k), k * self.rows)
            return replace(rest, inputs=self.inputs)
        return self.each(lambda t: stack(t, k), k * self.rows)

    def take(self, index: Tensor) -> Call:
        """The call on some of the rows."""
        return self.each(lambda t: t[index.to(t.device)], len(index))


def stack(t: Tensor, k: int) -> Tensor:
    """(B, ...) -> (k * B, ...)."""
    return t.expand(k, *t.shape).flatten(0, 1)


def eager(model: Any) -> Any:
    """The model itself, out of wrappers that hide its layers and operations (torch.compile, data parallel)."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return eager(model.module)
    if isinstance(model, nn.Module):
        inner = model._modules["_orig_mod"] if "_orig_mod" in model._modules else None  # noqa: SIM401  no `get` in TorchScript
    else:
        inner = getattr(model, "_torchdynamo_orig_callable", None)
    return model if inner is None else eager(inner)


def forward(
    call: Call,
    of: Point,
    visits: Sequence[Visit],
    *,
    constants: Constants | None = None,
    rules: Rules | None = None,
    **options: bool,
) -> tuple[Any, Load | None]:
    """Run the model once; the value at `of` (None without `score`) and the pass's load, with `measure`.

    With `keep`, the graph reaches back into the caller's tensors and the parameters; otherwise it starts at the places
    visited, and parameters are constants. With `grad` there is a graph at all.
    """
    try:
        return _forward(call, of, visits, constants, rules, **options)
    except Recomputes:
        if constants is not None:
            constants.light = True
        return _forward(call, of, visits, constants, rules, **options)


def _forward(
    call: Call,
    of: Point,
    visits: Sequence[Visit],
    constants: Constants | None,
    rules: Rules | None,
    *,
    grad: bool,
    keep: bool = False,
    measure: bool = False,
    score: bool = True,
) -> tuple[Any, Load | None]:
    token = object()
    seen: list[Any] = []
    leave = not score and bool(visits) and all(v.where.late for v in visits)
    with torch.set_grad_enabled(grad), ExitStack() as context:
        stand_ins = call.state.copies
        if call.state.training:
            stand_ins = {**stand_ins, **context.enter_context(_as_found(call.model))}
        if call.state.compiled and hasattr(torch.compiler, "set_stance"):
            context.enter_context(torch.compiler.set_stance("force_eager"))
        if keep:
            context.enter_context(_plain_attention)
        rules, constants = _under(rules if grad else None, constants, visits)
        inputs = _given(call, visits, keep)
        for visit in visits:
            visit.attach(context, token, leave)
        if of.layer is not None:
            on_layer(context, of, token, _capture(of, call.rows, seen, leave=of.call is not None and of.call >= 0))
        tracker = next((v.tracker(inputs, call.rows) for v in visits if v.where.ids), None)
        frozen = constants is not None and not constants.light and not keep
        watch = None
        # Under the mode, torch's fused shortcuts for inference stay closed: they run no inner layers.
        if tracker or measure or stand_ins or (grad and frozen) or (call.state.shortcuts and not grad):
            watch = context.enter_context(Watch(constants if frozen else None, tracker, measure, stand_ins, rules))
        elif rules is not None:
            context.enter_context(rules)
        hooked = of.layer is not None or not all(v.where.at_inputs for v in visits)
        if hooked:
            context.callback(enter_pass(token))
        within = hooked or tracker is not None or rules is not None
        if grad and (within or frozen):
            context.enter_context(disable_saved_tensors_hooks(_RECOMPUTED))
        output = _output(call, inputs, within, rules)
    load = None if watch is None else watch.load
    if score and of.layer is not None:
        if not seen:
            refuse("of", f"{of}, which did not run in this forward pass", "a layer that runs")
        return seen[-1], load
    return (part_of(output, of) if score else None), load


def _given(call: Call, visits: Sequence[Visit], keep: bool) -> Any:
    """The inputs of a pass, as its visits want them; copies of what they leave alone, for in-place code to change."""
    inputs = call.inputs
    for visit in visits:
        visit.rows = call.rows
        inputs = visit.inputs(inputs)
    return trees.map_tree(lambda t, given: _own(t, keep) if t is given else t, inputs, call.inputs)


def _under(
    rules: Rules | None, constants: Constants | None, visits: Sequence[Visit]
) -> tuple[Rules | None, Constants | None]:
    """The rules of a pass, if any, are told where its graph starts, and want parameters as constants."""
    if rules is None:
        return None, constants
    for visit in visits:
        visit.on_start = rules.start
    return rules, Constants() if constants is None or constants.light else constants


class Recomputes(Exception):
    """The model recomputes its activations, so that what it is given in the place of parameters would be missed."""


def _output(call: Call, inputs: Any, within: bool, rules: Rules | None) -> Any:
    """The model's output, None where the pass is left early; `within`: whether a place in the model is asked about."""
    try:
        output = call(inputs)
        if rules is not None:
            rules.finish(output)
        return output
    except Stop:
        return None
    except RuntimeError as error:
        if _RECOMPUTED not in str(error):
            raise
        if within:
            given = f"{_RECOMPUTED}, asked about a place within it"
            refuse("model", given, "one that keeps them", "Turn gradient checkpointing off.")
        raise Recomputes from error


def _own(t: Any, keep: bool) -> Any:
    """A copy that in-place code in the model may change; connected to the caller's graph only on request."""
    if not isinstance(t, Tensor):
        return t
    return t.clone() if keep else t.detach().clone()


def _capture(of: Point, rows: int, seen: list[Any], leave: bool) -> Callable[[Any, int], Any]:
    def capture(value: Any, call: int) -> Any:
        if of.call is None or of.call in (-1, call):
            seen[:] = [captured(value, of, rows)]
            if leave:
                raise Stop
        return value

    return capture


@contextmanager
def _as_found(model: Any) -> Iterator[dict[int, Tensor]]:
    """A model in train mode changes buffers (batch statistics) and draws random numbers.

    Gives copies of the buffers, by id, for the pass to change instead; puts back buffers that were exchanged for
    others, and the state of the random generators.
    """
    kept = [(m._buffers, dict(m._buffers)) for m in model.modules() if m._buffers]
    try:
        with torch.random.fork_rng(enabled=True):
            yield {id(b): b.detach().clone() for b in model.buffers()}
    finally:
        for now, before in kept:
            now.update(before)


class _PlainAttention:
    """While any thread is inside, torch's attention runs as plain products: its fused forms have no second derivative.

    The switch is one for the whole process, so the first thread to come sets it and the last to leave puts it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.context = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.context.enter_context(sdpa_kernel(SDPBackend.MATH))

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.context.close()


_plain_attention = _PlainAttention()
