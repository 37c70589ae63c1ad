"""Laws about what a method does besides answering. Each takes a `Trial` and raises `LawBroken`."""

from __future__ import annotations

import copy
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from enodo import Attribution, SamplingWarning, TrainModeWarning
from enodo.core import tree as trees

from .case import Case, Trial, need_equal, parts
from .faults import Fault, Meter, metered
from .state import State

SPARE = 6  # faults planted in each kind of event by `faults`
STEP = 1e-5  # of finite differences, in float64


def state(trial: Trial) -> None:
    """The model, the inputs and the process are left as they were found."""
    before = State(trial.case.model, trial.case.given)
    trial()
    changed = before.changes()
    if changed:
        trial.broken("state", f"left changed: {'; '.join(changed[:5])}")


def faults(trial: Trial, spare: int = SPARE) -> None:
    """They are also left so when a pass fails: the model at its k-th run, a layer, a backward pass, or an interrupt.

    What was raised comes through, and the next answer is the right one.
    """
    answer, meter = trial(), Meter()
    before = State(trial.case.model, trial.case.given)
    with metered(trial.case.model, meter) as model:
        trial(model=model)
    for kind, count in meter.counts.items():
        for k in sorted({round(1 + i * (count - 1) / max(spare - 1, 1)) for i in range(spare)}):
            for error in (Fault(f"{kind} {k}"), KeyboardInterrupt()):
                _fails(trial, kind, k, error)
                changed = before.changes()
                if changed:
                    what = f"{error!r} in {kind} {k} of {count} leaves changed: {'; '.join(changed[:5])}"
                    trial.broken("faults", what)
    need_equal(trial, "faults", trial(), answer, "the answer after failures")


def _fails(trial: Trial, kind: str, number: int, error: BaseException) -> None:
    with metered(trial.case.model, Meter().fail(kind, number, error)) as model:
        try:
            trial(model=model)
        except type(error) as raised:
            if raised is error:
                return
    trial.broken("faults", f"{error!r}, raised in {kind} {number}, did not come through")


def randomness(trial: Trial) -> None:
    """The same seed gives the same answer, whatever state the global generators are in; another seed another sample."""
    answer = trial(seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(torch.initial_seed() ^ 1)  # another seed than it has
        need_equal(trial, "randomness", trial(seed=3), answer, "after torch.manual_seed", 0)
        for name in ("stderr", "delta"):
            need_equal(trial, "randomness", getattr(trial(seed=3), name), getattr(answer, name), f"{name} again", 0)
    sampled = answer.stderr is not None and any((t > 1e-12).any() for t in parts(answer.stderr))
    # few samples of a function with steps may agree by chance, but not under one seed after another
    if sampled and all(_same(trial(seed=seed), answer) for seed in range(4, 12)):
        trial.broken("randomness", "it reports a standard error, but another seed draws the same sample")


def _same(found: Attribution, expected: Attribution) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parts(found), parts(expected), strict=True))


def callers(trial: Trial) -> None:
    """It works under the caller's no_grad and inference_mode, on tensors made there, and on a compiled model."""
    answer, model = trial(), trial.case.model
    with torch.no_grad():
        need_equal(trial, "callers", trial(), answer, "under torch.no_grad()")
    with torch.inference_mode():
        need_equal(trial, "callers", trial(), answer, "under torch.inference_mode()")
        born = trial.of_case(trial.case.take(list(range(trial.case.rows))))
        if isinstance(model, nn.Module):
            born = born.of_case(born.case.to(parts(answer)[0].dtype))
        need_equal(trial, "callers", born(), answer, "with inputs and parameters made under torch.inference_mode()")
    need_equal(
        trial, "callers", born(), answer, "with inputs and parameters made under torch.inference_mode(), outside"
    )
    if isinstance(model, nn.Module):
        compiled = torch.compile(model, backend="eager")
        need_equal(trial, "callers", trial(model=compiled), answer, "of a compiled model")
        in_place = copy.deepcopy(model)
        in_place.compile(backend="eager")
        need_equal(trial, "callers", trial(model=in_place), answer, "of a model compiled in place")


def warns(trial: Trial) -> None:
    """No warning on correct use; one, a TrainModeWarning, for a model in train mode, which is left as it was found."""
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", SamplingWarning)  # a trial has few samples
        trial()
    if met:
        trial.broken("warns", f"on correct use: {met[0].category.__name__}: {met[0].message}")
    if not isinstance(trial.case.model, nn.Module):
        return
    model = copy.deepcopy(trial.case.model).train()
    before = State(model, trial.case.given)
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", SamplingWarning)
        trial(model=model)
    if [w.category for w in met] != [TrainModeWarning]:
        trial.broken("warns", f"in train mode: {[w.category.__name__ for w in met]}, not one TrainModeWarning")
    changed = before.changes()
    if changed:
        trial.broken("warns", f"a model in train mode is left changed: {'; '.join(changed[:5])}")


def threads(trial: Trial, rounds: int = 3) -> None:
    """Threads that share a model get the answers of one thread; one that predicts or trains its own true values."""
    other = trial.of_rows(list(range(trial.case.rows))[::-1])
    jobs: dict[str, Callable[[], Any]] = {
        "an explanation": trial,
        "another explanation": other,
        "a prediction": partial(_predict, trial.case),
        "training": partial(_train, trial.case),
    }
    expected = {name: job() for name, job in jobs.items()}
    for name, answers in _together(jobs, rounds).items():
        for answer in answers:
            if isinstance(answer, Exception):
                trial.broken("threads", f"{name}, beside other threads, raised {answer!r}")
            need_equal(trial, "threads", answer, expected[name], f"{name}, beside other threads")


def _together(jobs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each job returns (or raises) when all run at once, in a thread each, some rounds."""
    found: dict[str, list[Any]] = {name: [] for name in jobs}
    barrier = threading.Barrier(len(jobs))

    def attempt(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except Exception as error:  # noqa: BLE001  told by the main thread
            return error

    def work(name: str) -> None:
        barrier.wait()
        for _ in range(rounds):
            found[name].append(attempt(jobs[name]))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        pool = [threading.Thread(target=work, args=(name,)) for name in jobs]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return found


def _predict(case: Case) -> tuple[Tensor, ...]:
    """What the model says, as one who knows nothing of explanations asks it."""
    with torch.no_grad():
        return tuple(_scores(case))


def _train(case: Case) -> tuple[Tensor, ...]:
    """The gradients of the model's parameters."""
    parameters = list(case.model.parameters()) if isinstance(case.model, nn.Module) else []
    if not parameters:
        return ()
    total = torch.stack([t.sum() for t in _scores(case)]).sum()
    return tuple(g for g in torch.autograd.grad(total, parameters, allow_unused=True) if g is not None)


def _scores(case: Case) -> list[Tensor]:
    return [t for _, t in trees.leaves(case.call()) if isinstance(t, Tensor) and t.is_floating_point()]


def differentiable(trial: Trial) -> None:
    """With create_graph, the answer's derivatives in inputs and parameters are what finite differences say."""
    if "gradient" not in trial.card.needs or not trial.case.smooth or trial.case.has_ids:
        return
    model = copy.deepcopy(trial.case.model)
    inputs = trees.map_tree(lambda t: t.detach().clone().requires_grad_(), trial.case.inputs)
    answer = trial(model=model, inputs=inputs, create_graph=True)
    weigh = [torch.cos(torch.arange(t.numel(), dtype=t.dtype)).view(t.shape) for t in parts(answer)]

    def total(found: Any) -> Tensor:
        return torch.stack([(t * w).sum() for t, w in zip(parts(found), weigh, strict=True)]).sum()

    moved: dict[str, list[Tensor]] = {"inputs": [t for _, t in trees.leaves(inputs)]}
    if isinstance(model, nn.Module):
        moved["parameters"] = [p for p in model.parameters() if p.requires_grad]
    end = total(answer)
    for name, tensors in moved.items():
        got: tuple[Tensor | None, ...] = (None,) * len(tensors)
        if end.requires_grad:  # the gradient of a score that is linear at `wrt` is constant, and has no graph
            got = torch.autograd.grad(end, tensors, retain_graph=True, allow_unused=True)
        way = [torch.sin(torch.arange(t.numel(), dtype=t.dtype) + 1).view(t.shape) for t in tensors]
        slope = sum((g * w).sum().item() for g, w in zip(got, way, strict=True) if g is not None)
        sides = []
        for sign in (1, -1):
            with _moved(tensors, way, sign * STEP):
                sides.append(total(trial(model=model, inputs=inputs)).item())
        true = (sides[0] - sides[1]) / (2 * STEP)
        if abs(slope - true) > 1e-5 * max(1, abs(true)):
            trial.broken(
                "differentiable", f"its derivative in the {name} is {slope:.8g}, finite differences say {true:.8g}"
            )


@contextmanager
def _moved(tensors: list[Tensor], way: list[Tensor], step: float) -> Iterator[None]:
    """The tensors, `step` along the way, until the end of the block."""
    kept = [t.detach().clone() for t in tensors]
    for t, w in zip(tensors, way, strict=True):
        t.data.add_(w, alpha=step)
    try:
        yield
    finally:
        for t, old in zip(tensors, kept, strict=True):
            t.data.copy_(old)
