"""What would mend a call that fails within the model: tried on the model before it is told.

A model that is given what it does not take (numbers of another dtype, a picture without rows, labels beside the inputs)
fails with an error that speaks of its inside. So it is called once more as its user calls it. If it fails at that too,
the inputs are changed in the ways that are easily forgotten, and a change with which it answers is the remedy that is
named, or else the layer of torch's that fails. If it answers, it may answer this number of rows alone, or numbers
without a gradient alone.

A model may be slow, and its fault its own: calls are few and end after some seconds, so that the likeliest come first,
one change before two, other numbers where the error speaks of numbers.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from . import tree as trees
from .budget import is_out_of_memory
from .errors import BadArgument, EnodoError, describe, is_users
from .given import count_rows
from .points import OUTPUT
from .running import Call, forward
from .values import is_continuous

if TYPE_CHECKING:
    from .question import Question


TRIES = 12  # calls of the model with its inputs changed
SECONDS = 5.0  # after which no other call begins
_NUMBERS = re.compile(r"d?type|device|cuda|\b(Half|BFloat16|Float|Double|Byte|Int|Long|Bool)")
_ARGUMENTS = re.compile(r"argument|unexpected keyword|missing|takes \d+")


class Change(NamedTuple):
    """A way to give the inputs otherwise; `fn` of (inputs, a parameter) fails where it makes no sense."""

    fn: Callable[[Any, Tensor], Any]
    code: str = "{x}"  # how it is written
    words: str = ""  # what it says


def _each(fn: Callable[..., Tensor]) -> Callable[[Any, Tensor], Any]:
    """`fn` of each tensor of the inputs and the parameter."""
    return lambda inputs, like: trees.map_tree(lambda t: fn(t, like) if isinstance(t, Tensor) else t, inputs)


def _whole(t: Tensor, like: Tensor) -> Tensor:
    if bool((t != t.round()).any()):
        raise ValueError("no whole numbers")
    return t.long()


AS_GIVEN = Change(lambda inputs, like: inputs)
NUMBERS = (
    AS_GIVEN,
    Change(_each(lambda t, like: t.to(like.device)), "torch.as_tensor({x}, device={device!r})"),
    Change(_each(lambda t, like: t.to(like.dtype)), "torch.as_tensor({x}, dtype={dtype})"),
    Change(_each(lambda t, like: t.to(like)), "torch.as_tensor({x}, dtype={dtype}, device={device!r})"),
    Change(_each(_whole), "torch.as_tensor({x}, dtype=torch.long)"),
)
SHAPES = (
    Change(_each(lambda t, like: t[None]), "{x}[None]", "one row"),
    Change(_each(lambda t, like: t.permute(0, 3, 1, 2)), "{x}.permute(0, 3, 1, 2)", "channels before places"),
    Change(_each(lambda t, like: t.permute(2, 0, 1)[None]), "{x}.permute(2, 0, 1)[None]", "one row, channels first"),
)
ARGUMENTS = (
    Change(lambda inputs, like: _stacked(inputs), "torch.stack(inputs)", "pictures of one size, one a row"),
    Change(lambda inputs, like: _first(inputs), "inputs[0]", "without what goes beside it"),
    Change(lambda inputs, like: (inputs,), "(inputs,)", "one argument of the model"),
)
FIRST = Change(lambda inputs, like: _first(inputs)[None], "inputs[0][None]", "one row at a time")


def _stacked(inputs: Any) -> Tensor:
    if not isinstance(inputs, list):
        raise TypeError("no list")
    return torch.stack(inputs)


def _first(inputs: Any) -> Any:
    if isinstance(inputs, Tensor):
        raise TypeError("one tensor")
    return inputs[0]


def mended(question: Question, gradient: bool, error: Exception) -> bool:
    """Whether a call that failed may go on, with another number of rows a pass; a remedy that is known is raised."""
    call, budget, started = question.call, question.budget, time.perf_counter()
    # one row was given, as the model takes no more, and of several points it answered one
    alone = call.rows == 1 and isinstance(error, BadArgument) and error.argument == "target"
    if isinstance(error, EnodoError) and not alone:
        return False
    sizes = sorted(n for n in {call.rows, 1, 2} if n <= (budget.limit if budget.fixed else n))
    failures = {n: _failure(call.take(torch.arange(n) % call.rows)) for n in sizes}
    answered = [n for n, failure in failures.items() if failure is None]
    if not answered and not alone:
        plain = failures.get(call.rows) or error
        remedy = _remedy(call, error, started + SECONDS) or _unlike(call) or _misfit(call, plain)
        if remedy is None:
            return False
        raise remedy from error
    if len(sizes) > 1 and len(answered) == 1 and budget.only != answered[0]:
        (only,) = answered
        if budget.fixed and budget.limit != only:
            expected = f"{only}, the only number of rows that the model answers"
            instead = "A model of torch.export answers others if its batch is a dynamic dimension."
            raise BadArgument("batch_size", str(budget.limit), expected, instead) from error
        budget.pin(only)
        rows = f"{only} row{'s' if only > 1 else ''}"
        question.log.note(f"The model answers {rows} at a time and no other number: batch_size={only}.")
        return True
    if gradient and not alone and _failure(call.each(_recorded, call.rows), recorded=True):
        given = f"a model that fails where gradients are recorded ({str(error).splitlines()[0].rstrip('.')})"
        instead = 'Ask one that needs no gradient: "kernel_shap", "feature_ablation", "occlusion" ...'
        raise BadArgument("method", given, "operations of torch, of which there are gradients", instead) from error
    return False


def _failure(call: Call, recorded: bool = False) -> Exception | None:
    """Why a call is not answered, or not for each of its rows; `recorded`: with a graph back to the inputs."""
    try:
        output, _ = forward(call, OUTPUT, (), grad=recorded, keep=recorded)
    except Exception as error:  # noqa: BLE001 - of whatever kind
        return error
    if isinstance(output, list) and len(output) == call.rows:  # an entry a row, as of detectors
        return None
    found = [t for _, t in trees.leaves(output) if isinstance(t, Tensor)]
    answers = not found or any(t.ndim and len(t) == call.rows for t in found)
    return None if answers else ValueError("an answer of other rows")


def _recorded(t: Tensor) -> Tensor:
    return t.detach().clone().requires_grad_() if is_continuous(t) else t


def _remedy(call: Call, error: Exception, until: float) -> BadArgument | None:
    """A refusal that names a change with which the model answers; the error is told of what was not tried."""
    parameters = call.model.parameters() if isinstance(call.model, nn.Module) else ()
    like = next((p for p in parameters if p.is_floating_point()), torch.zeros(()))
    tried, left = 0, list[str]()
    for shape, numbers in _likeliest(error):
        try:
            changed = numbers.fn(call.inputs, like)
            inputs = shape.fn(changed, like)
            other = replace(call, inputs=inputs, rows=count_rows(inputs))
        except Exception:  # noqa: BLE001 - a change that makes no sense here
            continue
        if inputs is call.inputs or (changed is call.inputs and numbers is not AS_GIVEN):
            continue
        if tried == TRIES or time.perf_counter() > until:
            left.append(_spelt(call, like, shape, numbers))
            continue
        tried += 1
        if _failure(other) is None:
            return _refusal(call, like, shape, numbers)
    if left and hasattr(error, "add_note"):
        error.add_note(f"Not tried, as enough calls of the model had failed: {', '.join(left)}.")
    return None


def _likeliest(error: Exception) -> Iterator[tuple[Change, Change]]:
    """Ways to give the inputs otherwise, (shape, numbers), in the order in which they are to be tried."""
    if isinstance(error, TypeError) and _ARGUMENTS.search(str(error)):  # which no other numbers would mend
        yield from ((shape, AS_GIVEN) for shape in (*ARGUMENTS, FIRST))
        return
    shapes = [(shape, AS_GIVEN) for shape in (*ARGUMENTS, *SHAPES, FIRST)]
    others = [(AS_GIVEN, numbers) for numbers in NUMBERS[1:]]
    yield from [*others, *shapes] if _NUMBERS.search(str(error)) else [*shapes, *others]
    yield from ((shape, numbers) for shape, _ in shapes for numbers in NUMBERS[1:])


def _unlike(call: Call) -> BadArgument | None:
    """A refusal of arguments that the model has no such parameters for, or lacks."""
    fn = call.model.forward if isinstance(call.model, nn.Module) else call.model
    try:
        takes = signature(fn)
    except (TypeError, ValueError):  # it does not say
        return None
    try:
        replace(call, model=takes.bind)()
    except TypeError as mismatch:
        names = ", ".join(takes.parameters)
        return BadArgument("inputs", describe(call.inputs), f"what the model takes: {names}", f"({mismatch})")
    return None


def _misfit(call: Call, error: Exception) -> BadArgument | None:
    """A refusal that names the layer of torch's own which fails, and what it is handed; None where other code fails."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    running = [i for i, frame in enumerate(frames) if isinstance(frame.f_locals.get("self"), nn.Module)]
    inside = [i for i in running if frames[i].f_code.co_name == "forward"]
    if not isinstance(error, (RuntimeError, ValueError, IndexError)) or is_out_of_memory(error):
        return None
    if not inside or any(is_users(frame) for frame in frames[inside[-1] :]):
        return None
    failed, code = frames[inside[-1]].f_locals, frames[inside[-1]].f_code
    model, layer = frames[running[0]].f_locals["self"], failed["self"]
    name = next((f"{name}, " for name, module in model.named_modules() if name and module is layer), "")
    handed = [failed.get(taken) for taken in code.co_varnames[1 : code.co_argcount]]
    tensors = ", ".join(describe(t) for t in handed if isinstance(t, Tensor))
    reason = " ".join(str(error).split()).rstrip(".")
    place = f"layer {name}{type(layer).__name__}({layer.extra_repr()}), which is handed {tensors}: {reason}."
    given = f"{describe(call.inputs)}, which the model does not take"
    return BadArgument("inputs", given, "inputs that it answers", f"It fails at its {place}")


def _refusal(call: Call, like: Tensor, shape: Change, numbers: Change) -> BadArgument:
    single = isinstance(call.inputs, Tensor)
    called = "model(x)" if single else "model(**inputs)" if isinstance(call.inputs, Mapping) else "model(*inputs)"
    given = f"{describe(call.inputs)}, which the model does not take as {called}"
    told = f" ({shape.words})" if shape.words else ""
    answers = f"It answers {_spelt(call, like, shape, numbers)}{told}."
    return BadArgument("inputs", given, "inputs that it answers", answers)


def _spelt(call: Call, like: Tensor, shape: Change, numbers: Change) -> str:
    """How a change is written."""
    single = isinstance(call.inputs, Tensor)
    x = numbers.code.format(x="x" if single else "t", dtype=like.dtype, device=str(like.device))
    return shape.code.format(x=x) + ("" if single or "inputs" in shape.code else " for each tensor t")
