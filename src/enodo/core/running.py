"""One forward pass: the model called as its user calls it, watched at some places, and left as it was found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import disable_saved_tensors_hooks

from . import copies
from . import tree as trees
from .draws import CERTAIN, Draws, put_back
from .errors import refuse
from .lasting import dataclass, replace
from .places import Visit, Where, captured
from .points import OUTPUT, Point, Stop, Watched, part_of
from .products import may_pay
from .rules import Rules
from .state import State, plain_attention, without_compiling
from .watch import Constants, Load, Watch

# Such a model runs its layers again during the backward pass, when nobody is there to set or see anything.
_RECOMPUTED = "a model that recomputes its activations (torch.utils.checkpoint)"
_modes: Callable[[], int] = torch._C._len_torch_function_stack  # of function modes, whoever entered them


@dataclass(frozen=True, eq=False)
class Call:
    """A model with what it is called on: `inputs` are rows to explain, `args` and `kwargs` go along."""

    model: Callable[..., Any]
    inputs: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rows: int
    state: State
    draws: Draws = CERTAIN

    def __call__(self) -> Any:
        """A tensor is given as model(x), a tuple or list as model(*x), a mapping as model(**x)."""
        inputs = self.inputs
        if isinstance(inputs, Tensor):
            return self.model(inputs, *self.args, **self.kwargs)
        if isinstance(inputs, Mapping):
            return self.model(*self.args, **inputs, **self.kwargs)
        if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
            return self.model(*inputs, *self.args, **self.kwargs)
        return self.model(inputs, *self.args, **self.kwargs)

    def each(self, fn: Callable[[Tensor], Tensor], rows: int, but_inputs: bool = False) -> Call:
        """The call with `fn` applied to every tensor that has one entry a row; all else passes untouched."""

        def batched(t: Any) -> Any:
            return fn(t) if isinstance(t, Tensor) and t.ndim and len(t) == self.rows else t

        inputs = self.inputs if but_inputs else trees.map_tree(batched, self.inputs)
        args = trees.map_tree(batched, self.args) if self.args else self.args
        kwargs = trees.map_tree(batched, self.kwargs) if self.kwargs else self.kwargs
        return Call(self.model, inputs, args, kwargs, rows, self.state, self.draws)

    def tile(self, k: int, put: Where | None = None) -> Call:
        """The call with its rows repeated k times, point by point: (k * B, ...).

        Where the pass sets what is at `put`, the only input need not be repeated.
        """
        if k == 1:
            return self
        is_set = put is not None and put.at_inputs and not put.ids and isinstance(self.inputs, Tensor)
        return self.each(lambda t: stack(t, k), k * self.rows, but_inputs=is_set)

    def take(self, index: Tensor) -> Call:
        """The call on some of the rows."""
        return self.each(lambda t: t[index.to(t.device)], len(index))

    def own(self, inputs: Any, keep: bool) -> Call:
        """The call on these inputs and on copies of all that is the caller's, for in-place code to change."""

        def copied(t: Any) -> Any:
            return copies.own(t, keep)

        inputs = trees.map_tree(lambda t, given: copied(t) if t is given else t, inputs, self.inputs)
        args = trees.map_tree(copied, self.args) if self.args else self.args
        kwargs = trees.map_tree(copied, self.kwargs) if self.kwargs else self.kwargs
        return Call(self.model, inputs, args, kwargs, self.rows, self.state, self.draws)


def stack(t: Tensor, k: int) -> Tensor:
    """(B, ...) -> (k * B, ...)."""
    return t.expand(k, *t.shape).flatten(0, 1)


def forward(
    call: Call,
    of: Point,
    visits: Sequence[Visit],
    *,
    constants: Constants | None = None,
    rules: Rules | None = None,
    then: Callable[[Any], Any] | None = None,
    **options: bool,
) -> tuple[Any, Load | None]:
    """Run the model once; the value at `of` (None without `score`) and the pass's load, with `measure`.

    With `keep`, the graph reaches back into the caller's tensors and the parameters; otherwise it starts at the places
    visited, and parameters are constants. With `grad` there is a graph at all. `then` makes something of the value
    within the pass, so under its rules.
    """
    try:
        return _forward(call, of, visits, constants, rules, then, **options)
    except Recomputes:
        if constants is not None:
            constants.light = True
        return _forward(call, of, visits, constants, rules, then, **options)


def _forward(
    call: Call,
    of: Point,
    visits: Sequence[Visit],
    constants: Constants | None,
    rules: Rules | None,
    then: Callable[[Any], Any] | None,
    *,
    grad: bool,
    keep: bool = False,
    measure: bool = False,
    score: bool = True,
) -> tuple[Any, Load | None]:
    state, seen = call.state, list[Any]()
    leave, hooked = not score and bool(visits), of.layer is not None
    for visit in visits:
        leave, hooked = leave and visit.where.late, hooked or not visit.where.at_inputs
    ends = of.layer is not None and of.call is not None and of.call >= 0
    stand_ins = state.stand_ins(call.model)
    whole, draws = not (leave or ends), call.draws
    around = state.contexts(call.model, stand_ins, whole) + draws.contexts(whole)
    if keep:
        around.append(plain_attention)
    with torch.set_grad_enabled(grad):
        if rules is not None:
            rules, constants = _under(rules if grad else None, constants, visits)
        call = _given(call, visits, keep)
        if hooked:
            layers = [layer for visit in visits for layer in visit.layers(leave)]
            if of.layer is not None:
                layers.append((of, _capture(of, call.rows, seen, leave=ends)))
            around.append(Watched(layers))
        tracker = next((v.tracker(call.inputs, call.rows) for v in visits if v.where.ids), None)
        frozen = grad and constants is not None and not constants.light and not keep
        alone = state.fixed and call.rows == 1  # see `watch.MISREAD`
        looks = frozen or alone if grad else state.shortcuts or may_pay(call.inputs, state.weights // 4)
        watch = None
        # Under the mode, torch's fused shortcuts for inference stay closed: they run no inner layers.
        if tracker or measure or stand_ins or looks:
            watch = Watch(constants if frozen else None, tracker, measure, stand_ins, rules)
            around.append(watch)
        elif rules is not None:
            around.append(rules)
        within = hooked or tracker is not None or rules is not None
        if frozen or (grad and within):
            around.append(kept())

        def answer(output: Any) -> Any:
            value = _value(output, of, seen) if score else None
            value = then(value) if then is not None and score else value
            if rules is not None:
                rules.finish((output, value))
            return value

        found = watched(call, around, whole, within, answer)
    return found, None if watch is None else watch.load


def _value(output: Any, of: Point, seen: Sequence[Any]) -> Any:
    """The value at `of`, of an output or of what was seen at its layer."""
    if of.layer is None:
        return part_of(output, of)
    if not seen:
        refuse("of", f"{of}, which did not run in this forward pass", "a layer that runs")
    return seen[-1]


def watched(call: Call, around: list[Any], whole: bool, within: bool, answer: Callable[[Any], Any]) -> Any:
    """What a pass gives, in contexts entered in order; see `noticed` for `whole` and `_output` for the rest."""
    if may_compile() and (call.state.compiled or around or _modes()):
        around.insert(0, without_compiling)
    return noticed(call, whole, lambda: _output(call, around, within, answer))


def noticed(call: Call, whole: bool, run: Callable[[], Any]) -> Any:
    """What a pass gives; of a model that is not known to draw random numbers it is found out whether this one did."""
    before = call.draws.before()
    if before is None:
        return run()
    try:
        output = run()
    except BaseException:
        if call.draws.suspects(before, False):
            put_back(before)
        raise
    if call.draws.suspects(before, whole):  # one more pass, in which all that the model draws is seen
        call.draws.confirm(before, lambda draws: forward(replace(call, draws=draws), OUTPUT, (), grad=False))
    return output


def may_compile() -> bool:
    """Whether anything can have been made by torch.compile, whose compiler would take our modes for code of the model.

    It would then see constants in what they hand out, and gradients that are others. So wherever a place or an
    operation is looked at, the model runs uncompiled: also functions in it that nothing tells to be compiled.
    """
    return "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance")


def _given(call: Call, visits: Sequence[Visit], keep: bool) -> Call:
    """The call with inputs as the visits of a pass want them, and with copies of all that they leave alone."""
    inputs = call.inputs
    for visit in visits:
        visit.rows = call.rows
        inputs = visit.inputs(inputs)
    return call.own(inputs, keep)


def _under(
    rules: Rules | None, constants: Constants | None, visits: Sequence[Visit]
) -> tuple[Rules | None, Constants | None]:
    """The rules of a pass are told where its graph starts, and want parameters as constants."""
    if rules is None:
        return None, constants
    for visit in visits:
        visit.on_start = rules.start
    return rules, Constants() if constants is None or constants.light else constants


def kept() -> Any:
    """What a pass runs within whose activations are to be kept until it is gone back through."""
    return disable_saved_tensors_hooks(_RECOMPUTED)


class Recomputes(Exception):
    """The model recomputes its activations, so that what it is given in the place of parameters would be missed."""


def _output(call: Call, around: Sequence[Any], within: bool, answer: Callable[[Any], Any]) -> Any:
    """The `answer` to the model's output (None where the pass is left early), in contexts entered in order.

    `within`: whether a place in the model is asked about.
    """
    try:
        with ExitStack() as entered:
            for context in around:
                entered.enter_context(context)
            try:
                output = call()
            except Stop:
                output = None
            return answer(output)
    except RuntimeError as error:
        if _RECOMPUTED not in str(error):
            raise
        if within:
            given = f"{_RECOMPUTED}, asked about a place within it"
            refuse("model", given, "one that keeps them", "Turn gradient checkpointing off.")
        raise Recomputes from error


def _capture(of: Point, rows: int, seen: list[Any], leave: bool) -> Callable[[Any, int], Any]:
    def capture(value: Any, call: int) -> Any:
        if of.call is None or of.call in (-1, call):
            seen[:] = [captured(value, of, rows)]
            if leave:
                raise Stop
        return value

    return capture
