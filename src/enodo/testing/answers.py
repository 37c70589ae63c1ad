"""Laws about the answer itself. Each takes a `Trial` and raises `LawBroken`; one that cannot apply to it passes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from enodo import OUTPUT, Attribution, Each
from enodo.core import tree as trees
from enodo.core.values import Values

from .case import Case, Trial, need_equal, parts
from .faults import Meter, metered

GAP = 1e-6  # of a complete explanation in float64
ROUNDING = 1e-12  # in float64: a row's score may depend on its place in a pass in the last digits


def shape(trial: Trial) -> None:
    """The answer has the structure and the shapes of the value at `wrt`, finite numbers, and no graph."""
    answer, value = trial(), _value(trial)
    found, expected = parts(answer), parts(value)
    given = f"{[tuple(t.shape) for t in found]} for values of {[tuple(t.shape) for t in expected]}"
    if len(found) != len(expected) or not all(_fits(trial, *pair) for pair in zip(found, expected, strict=True)):
        trial.broken("shape", given)
    if type(answer.values) is not type(value.values):
        trial.broken("shape", f"a {type(answer.values).__name__} for a {type(value.values).__name__}")
    for t in (*found, *parts((answer.scores, answer.delta, answer.stderr, answer.baseline_scores))):
        if t.requires_grad:
            trial.broken("shape", "the answer carries a graph that nobody asked for")
    again = trial(inputs=trees.map_tree(_with_grad, trial.case.inputs))
    if any(t.requires_grad for t in parts(again)):
        trial.broken("shape", "the answer carries the graph of inputs that require gradients")
    need_equal(trial, "shape", again, answer, "inputs that require gradients change the answer")


def _fits(trial: Trial, answer: Tensor, value: Tensor) -> bool:
    """Whether the answer lies like the value; a map has one channel in the place of all, and tokens may be a grid."""
    if answer.ndim < value.ndim:
        return False
    if "map" in trial.card.claims and value.ndim == 3 and answer.ndim > 3 and answer.shape[-4] == len(value):
        return answer.shape[-3] == 1 and answer.shape[-2:].numel() <= value.shape[1]
    off = [(a, v) for a, v in zip(answer.shape[-value.ndim :], value.shape, strict=True) if a != v]
    return not off or ("map" in trial.card.claims and len(off) == 1 and off[0][0] == 1)


def completeness(trial: Trial) -> None:
    """Where it is claimed, the sum of the answer is f(x) - f(x0): to 1e-6 on smooth models, or ever closer as `steps`
    grow; at the inputs to six standard errors of what is sampled there."""
    if "completeness" not in trial.card.claims or isinstance(trial.wrt, (list, tuple)):  # one layer may hold another
        return
    answer = trial()
    if answer.delta is None or answer.scores is None or answer.baseline_scores is None:
        trial.broken("completeness", "it is claimed, but no gap is reported")
    total = Values(parts(answer)).rowsum(answer.scores)
    own = total - (answer.scores - answer.baseline_scores)
    need_equal(trial, "completeness", answer.delta, own, "the gap reported is not the gap there is")
    gap = own.abs().max().item()
    if answer.stderr is not None:
        if not trial.at_inputs:
            return
        allowed = 6 * Values(parts(answer.stderr)).rowsum(answer.scores).max().item()
        if gap > allowed + GAP:
            trial.broken("completeness", f"a gap of {gap:.2g}, six standard errors are {allowed:.2g}")
    elif trial.case.smooth and gap > GAP:
        steps = trial.card.options.get("steps")
        if steps is None:
            trial.broken("completeness", f"a gap of {gap:.2g}, {GAP:g} is allowed")
        n = int(trial.options.get("steps", steps.default))
        finer = trial(steps=16 * n).delta
        if finer is None or finer.abs().max() > max(gap / 8, GAP):
            trial.broken("completeness", f"a gap of {gap:.2g} with {n} steps, and {finer} with {16 * n}")


def rows(trial: Trial) -> None:
    """A row's answer does not depend on its batch mates, nor on whether it has any, unless it is about the batch."""
    if "batch" in trial.card.claims:
        return
    answer, n = trial(), trial.case.rows
    lead = parts(answer)[0].ndim - parts(_value(trial))[0].ndim
    if "map" in trial.card.claims:  # the tokens of a picture may be its grid, of another rank
        lead = 0 if answer.scores is None else answer.scores.ndim - 1

    def row(found: Attribution, i: int) -> tuple[Tensor, ...]:
        return tuple(t.narrow(lead, i, 1) for t in parts(found))

    for i in range(n):
        need_equal(trial, "rows", row(trial.of_rows([i] * n)(), i), row(answer, i), f"row {i} among other mates")
    need_equal(trial, "rows", row(trial.of_rows([0])(), 0), row(answer, 0), "row 0 alone")


def chunks(trial: Trial) -> None:
    """The answer does not depend on `batch_size`, and no pass has more rows than that."""
    answer = trial()
    n = trial.case.rows
    for size in (1, 2, n, n + 1, 5 * n):
        meter = Meter()
        with metered(trial.case.model, meter) as model:
            found = trial(model=model, batch_size=size)
        if meter.largest > size:
            trial.broken("chunks", f"a pass of {meter.largest} rows with batch_size={size}")
        for name in ("values", "scores", "delta", "stderr", "error"):
            sides = getattr(found, name), getattr(answer, name)
            need_equal(trial, "chunks", *sides, f"batch_size={size} changes the {name}")


def memory(trial: Trial) -> None:
    """Out of memory, a pass is halved until it fits, and the answer is the same; a single row is not tried for ever."""
    answer = trial(batch_size=1)

    def run_out(most: int, error: type[BaseException], text: str) -> Callable[[str, int], None]:
        def at(kind: str, rows: int) -> None:
            if rows > most:
                raise error(text)

        return at

    cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
    for error, text in ((torch.OutOfMemoryError, "out of memory"), (RuntimeError, cpu)):
        for size in ("auto", 4 * trial.case.rows):
            with metered(trial.case.model, Meter(at=run_out(2, error, text))) as model:
                try:
                    found = trial(model=model, batch_size=size)
                except Exception as raised:  # noqa: BLE001  whatever it is, it should not have come
                    trial.broken("memory", f"{raised!r} comes through, though two rows would fit")
            need_equal(trial, "memory", found, answer, f"after {error.__name__} with batch_size={size!r}")
    meter = Meter(at=run_out(0, torch.OutOfMemoryError, "out of memory"))
    with metered(trial.case.model, meter) as model:
        try:
            trial(model=model)
        except torch.OutOfMemoryError:
            return
    if meter.counts:
        trial.broken("memory", "an answer came out of a model that never has enough memory")


def targets(trial: Trial) -> None:
    """Several targets in one call are the single ones, stacked."""
    case = trial.case
    if "score" not in trial.card.needs or trial.of != OUTPUT:
        return
    classes = isinstance(case.target, (int, str)) or (isinstance(case.target, list) and isinstance(case.target[0], int))
    asked = [1, case.target, 0] if classes else [case.target, case.target]
    together = trial(target=Each(asked))
    single = [parts(trial(target=t)) for t in asked]
    stacked = [torch.stack(ts) for ts in zip(*single, strict=True)]
    need_equal(trial, "targets", tuple(parts(together)), tuple(stacked), "several targets at once, and one by one")


def structure(trial: Trial) -> None:
    """A tensor, a tuple of one and a dict of one are the same question."""
    x, base = trial.case.inputs, trial.case.baseline
    if not isinstance(x, Tensor):
        return
    answer = trial()
    name = next(iter(inspect.signature(getattr(trial.case.model, "forward", trial.case.model)).parameters))
    given = base is not None and isinstance(base, Tensor)
    for kind, one in (("tuple", lambda t: (t,)), ("list", lambda t: [t]), ("dict", lambda t: {name: t})):
        found = trial(inputs=one(x), baseline=one(base) if given else base)
        if trial.at_inputs and type(found.values).__name__ != kind:
            trial.broken("structure", f"a {kind} of one tensor gets a {type(found.values).__name__}")
        need_equal(trial, "structure", found, answer, f"a {kind} of one tensor")


class _Framed(nn.Module):
    """A model between two layers that do nothing."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.first, self.model, self.last = nn.Identity(), model, nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.last(self.model(self.first(x)))


def identity(trial: Trial) -> None:
    """Asked at a layer that does nothing, after the inputs or before the output, the answer is the one at the ends."""
    x = trial.case.inputs
    if not isinstance(x, Tensor) or trial.case.args or trial.case.kwargs:
        return
    answer, framed = trial(), _Framed(trial.case.model).eval()
    if trial.at_inputs and x.is_floating_point():
        found = trial(model=framed, **_inside(trial) | {"wrt": "first"})
        need_equal(trial, "identity", found, answer, "with respect to a layer that does nothing")
    if trial.of == OUTPUT and isinstance(trial.case.model, nn.Module):
        found = trial(model=framed, **_inside(trial) | {"of": "last"})
        need_equal(trial, "identity", found, answer, "of a last layer that does nothing")


def dtypes(trial: Trial) -> None:
    """float64 is float64 throughout; float32 and bfloat16 come out as they went in."""
    answers = {dtype: trial.of_case(trial.case.to(dtype))() for dtype in (torch.float64, torch.float32, torch.bfloat16)}
    for dtype, found in answers.items():
        if any(t.dtype != dtype for t in parts(found)):
            trial.broken("dtypes", f"{dtype} gets {[t.dtype for t in parts(found)]}")
    double, single, half = answers.values()
    whole, rounded = (torch.cat([t.reshape(-1) for t in parts(a)]) for a in (double, single))
    counts = whole.abs() > GAP  # below, there may be nothing but rounding errors
    exact = rounded.to(whole.dtype) == whole  # numbers such as 1, with nothing to round
    if (counts & ~exact).any() and not (whole.to(torch.float32) != whole)[counts].any():
        trial.broken("dtypes", "float64 inputs get numbers of no more than float32 precision")
    if double.stderr is None:  # samples are drawn in the dtype that is asked about
        need_equal(trial, "dtypes", single, double, "in float32", 1e-4)
        if trial.case.smooth:
            need_equal(trial, "dtypes", half, double, "in bfloat16", 0.5)


class _Deaf(nn.Module):
    """A model that is given one more column than it reads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return self.model(x[..., :-1], *args, **kwargs)


def ignored(trial: Trial) -> None:
    """What the model does not read contributes exactly zero (zero to rounding, for differences of scores), and changes
    nothing else."""
    x, base = trial.case.inputs, trial.case.baseline
    if not (trial.at_inputs and isinstance(x, Tensor) and x.is_floating_point() and "score" in trial.card.needs):
        return
    if trial.card.claims & {"map", "shared"}:  # columns may be the channels that are summed, or share what others do
        return
    wider = torch.cat([x, x[..., :1] + 1], -1)
    base = torch.cat([base, base[..., :1] - 1], -1) if isinstance(base, Tensor) and base.ndim == x.ndim else base
    if "features" in trial.card.options:  # the same ones, and the column
        n = trial.options.get("features") or x[0].numel()
        groups = (torch.arange(x[0].numel()) * n // x[0].numel()).view(x[:1].shape)
        trial = replace(trial, options={**trial.options, "features": groups})
        groups = torch.cat([groups, torch.full_like(groups[..., :1], n)], -1)
    inside = _inside(trial) | ({"features": groups} if "features" in trial.card.options else {})
    found = trial(model=_Deaf(trial.case.model).eval(), inputs=wider, baseline=base, **inside)
    (values,) = parts(found)
    if values[..., -1].abs().max() > (0 if "gradient" in trial.card.needs else ROUNDING):
        trial.broken("ignored", f"a column that is not read gets {values[..., -1].abs().max().item():.2g}")
    if found.stderr is None:
        need_equal(trial, "ignored", values[..., :-1], trial(), "a column that is not read changes the other ones")


def same(trial: Trial, others: list[Case]) -> None:
    """Models that compute the same function get the same answer, however they are written."""
    answer = trial()
    for case in others:
        need_equal(trial, "same", trial.of_case(case)(), answer, f"written as {case.name}")


def _value(trial: Trial) -> Attribution:
    """The values at `wrt` themselves."""
    return replace(trial, method="activation", options={})()


def _inside(trial: Trial) -> dict[str, Any]:
    """The trial's places and options, its layers named as those of a model that holds the model."""
    model = trial.case.model
    known = dict(model.named_modules()) if isinstance(model, nn.Module) else {}

    def renamed(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(renamed, value))
        layer = isinstance(value, str) and value and re.split("[@:[]", value)[0] in known
        return f"model.{value}" if layer else value

    return {k: renamed(v) for k, v in {"wrt": trial.wrt, "of": trial.of, **trial.options}.items()}


def _with_grad(t: Any) -> Any:
    return t.detach().clone().requires_grad_() if isinstance(t, Tensor) and t.is_floating_point() else t
