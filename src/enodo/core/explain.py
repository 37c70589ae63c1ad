"""`explain`: a question asked, answered by a method, block of rows by block of rows, with the evidence beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from . import targets
from . import tree as trees
from .absence import Absence
from .batch import Batch
from .budget import Budget, is_out_of_memory
from .draws import CERTAIN, Draws, Drew
from .errors import BadType, TrainModeWarning, describe, refuse, remark, warn
from .gather import gathered
from .given import baseline_like, count_rows, plain, tensors
from .glance import glanced
from .log import Log
from .points import INPUT, OUTPUT, Point, locate
from .question import Question
from .registry import Card, card_of, check_options, with_options
from .remedies import mended
from .result import Attribution
from .running import Call, may_compile
from .state import State, eager
from .transforms import level
from .values import Values, is_continuous
from .watch import Constants
from .where import where

VECTOR = 1024  # bytes guessed for an embedding vector

Spot = Point | str | nn.Module


def explain(
    model: Callable[..., Any],
    inputs: Any,
    method: str | Callable[..., Values] = "integrated_gradients",
    *,
    target: Any = None,
    baseline: Any = None,
    wrt: Spot | list[Spot] | tuple[Spot, ...] = INPUT,
    of: Spot = OUTPUT,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    batch_size: int | str = "auto",
    seed: int = 0,
    create_graph: bool = False,
    progress: bool | Callable[[int, int], None] = False,
    **options: Any,
) -> Attribution:
    """Explain a prediction: how much each value at `wrt` contributes to the `target` of the model's output at `inputs`.

    model         any callable; layers can be named if it is an `nn.Module`
    inputs        a tensor (given as model(x)), a tuple or list (model(*x)), a mapping (model(**x)); rows first
    method        a name from `enodo.methods()`, or a function `Question -> Values`
    target        see `enodo.core.targets`
    baseline      see `enodo.core.given.baseline_like`
    wrt, of       see `enodo.core.points`; a list asks at several places in one pass
    args, kwargs  further arguments of the model; tensors with one entry a row are cut with the rows, others are not
    batch_size    rows that a forward pass may have; "auto" measures. The answer does not depend on it
    seed          of methods that sample and models that do; the global generators are neither read nor moved
    create_graph  keep the answer differentiable
    progress      True for a bar, or a function of (rows done, rows planned)
    options       the method's own

    Returns an `Attribution` shaped like the value at `wrt`. Errors are `BadArgument` (a ValueError), and name theirs.
    """
    terms: Any = {
        "target": target, "baseline": baseline, "wrt": wrt, "of": of, "args": args, "kwargs": kwargs,
        "batch_size": plain(batch_size), "seed": plain(seed), "create_graph": create_graph,
    }  # fmt: skip
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return explain(model, inputs, method, progress=progress, **terms, **options)
    started = time.perf_counter()
    options = {name: plain(value) for name, value in options.items()}
    card = with_options(card_of(method), options)
    check_options(card, options)

    def answer() -> Attribution:
        found = glanced(card, options, model, inputs, terms) if progress is False and "once" in card.claims else None
        return _in_full(card, options, model, inputs, Log(progress), terms) if found is None else found

    try:
        found = _uncompiled(answer)
    except Exception as error:
        remark(error, inputs)
        raise
    found.seconds = time.perf_counter() - started
    return found


def _uncompiled(answer: Callable[[], Attribution]) -> Attribution:
    """An answer, given anew where the model loaded torch's compiler meanwhile, as `torch.cond` does.

    The passes until then had not been told to do without it.
    """
    known = may_compile()
    try:
        found = answer()
        if known or not may_compile():
            return found
    except Exception:
        if known or not may_compile():
            raise
    return answer()


def _in_full(card: Card, options: dict[str, Any], model: Any, inputs: Any, log: Log, terms: Any) -> Attribution:
    """The answer of a method to any question, but for its seconds."""
    try:
        question = ask(model, inputs, log=log, needs=card.needs, **terms)
        answers = list(answered(question, card, options))
    finally:
        log.close()
    return gathered(question, card, answers, options)


def ask(
    model: Callable[..., Any],
    inputs: Any,
    *,
    target: Any = None,
    baseline: Any = None,
    wrt: Any = INPUT,
    of: Any = OUTPUT,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    batch_size: int | str = "auto",
    seed: int = 0,
    create_graph: bool = False,
    log: Log | None = None,
    needs: frozenset[str] = frozenset({"gradient", "score", "baseline"}),
) -> Question:
    """The Question that `explain` puts to a method; see there for the arguments and `Card` for `needs`."""
    if not callable(model):
        refuse("model", model, "a model or another callable", _called_how(model), BadType)
    if isinstance(model, type):
        refuse("model", f"the class {model.__name__}", "a model", f"Make one: {model.__name__}(...).", BadType)
    if level():
        given, expected = "a call within torch.func (vmap, grad, jvp ...)", "a call of its own"
        refuse("explain", given, expected, "Rows are explained together; derivatives come with create_graph=True.")
    if type(seed) is not int or seed < 0:
        refuse("seed", seed, "a whole number from 0", kind=BadType)
    model, state = examined(model)
    inputs = _usable(tensors(inputs, "inputs"))
    rows = count_rows(inputs)
    args = args if isinstance(args, tuple) else (args,)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        refuse("kwargs", kwargs, "a mapping of keyword arguments", kind=BadType)
    args, kwargs = _usable(args) if args else args, _usable(dict(kwargs)) if kwargs else {}
    draws = Draws(model, seed) if state.draws else CERTAIN
    call = Call(model, inputs, args, kwargs, rows, state, draws)
    budget = Budget(batch_size, state.weights, _row_bytes(inputs, rows))
    places = wrt if isinstance(wrt, (list, tuple)) else [wrt]
    if not places:
        refuse("wrt", "an empty list", "at least one place")
    asked = where(places, call, "gradient" in needs, isinstance(wrt, (list, tuple)))
    # an input that is not asked about stays as it is; for layers, all inputs go from the baseline to x
    entry = asked if asked.at_inputs else where([INPUT], call, "gradient" in needs)
    absence = Absence.of(baseline, needs)
    background = "background" in needs or ("absence" in needs and absence.many)
    end, end_name = locate(of, model, "of")
    if end.side in ("input", "embedding"):
        refuse("of", str(end), "the output or a layer")
    return Question(
        call=call,
        baseline=_usable(baseline_like(absence.plain, inputs, rows, background))
        if needs & {"baseline", "background", "absence"}
        else None,
        absence=absence if "absence" in needs else None,
        batch=Batch(call),
        target=targets.prepare(target, rows),
        wrt=asked,
        entry=entry,
        of=end,
        of_name=end_name,
        budget=budget,
        constants=Constants(budget.light),
        log=log or Log(),
        background=background,
        seed=seed,
        keys=tuple(zip(range(rows), strict=True)),
        create_graph=create_graph,
    )


def _called_how(model: Any) -> str:
    """What to write in the place of something that is no callable."""
    if isinstance(model, Tensor):
        return "The model comes before the inputs: enodo.explain(model, inputs)."
    for name in ("predict_proba", "decision_function", "predict"):
        if hasattr(model, name):
            return f'Give its function, model.{name}, and a method that needs no gradient, such as "kernel_shap".'
    return "Make the model and load its weights first." if isinstance(model, (str, Mapping)) else ""


def examined(model: Callable[..., Any]) -> tuple[Callable[..., Any], State]:
    """The model out of its wrappers, and what a pass has to know of it; a warning where it is in train mode."""
    model = eager(model)
    state = State.of(model)
    if state.training:
        warn(
            "The model is in train mode: dropout and batch statistics become part of the explanation. "
            "Call model.eval() first.",
            TrainModeWarning,
        )
    return model, state


def _usable(tree: Any) -> Any:
    """Tensors made under inference mode cannot take part in autograd: copies of them can."""
    if isinstance(tree, Tensor) and not tree.is_inference():
        return tree
    return trees.map_tree(lambda t: t.clone() if isinstance(t, Tensor) and t.is_inference() else t, tree)


def _row_bytes(inputs: Any, rows: int) -> int:
    """Bytes of input a row; an integer counts as the vector that it may be looked up as."""
    if isinstance(inputs, Tensor) and is_continuous(inputs):
        return inputs.nbytes // rows
    found = [t for _, t in trees.leaves(inputs) if isinstance(t, Tensor)]
    return sum(t.nbytes if is_continuous(t) else VECTOR * t.numel() for t in found) // rows


def answered(question: Question, card: Card, options: Mapping[str, Any]) -> Iterator[tuple[Question, Values]]:
    """The method's answer for each block of rows; no block has more rows than a pass may have."""
    start, draws = 0, question.call.draws
    while start < question.rows:
        if draws.kind and not question.call.state.mixes:
            question.budget.pin(1)
        n = question.budget.points(1, question.rows - start)
        block = question if n == question.rows else question.take(torch.arange(start, start + n))
        try:
            with torch.set_grad_enabled(question.create_graph):
                values = card.fn(block, **options)
            _find_scores(block, card)  # here, where running out of memory halves the block
        except Drew:
            continue
        except Exception as error:
            if is_out_of_memory(error):
                again = question.budget.halve(question.budget.tried)
            else:
                again = mended(question, "gradient" in card.needs, error)
            if not again:
                raise
            continue
        if not isinstance(values, Values):
            refuse("method", f"{card.name}, which returned {describe(values)}", "Values", kind=BadType)
        yield block, values
        start += n


def _find_scores(block: Question, card: Card) -> None:
    """Have the block remember the scores that the result reports; the baseline's pass takes the inputs along."""
    if "completeness" in card.claims:
        block.baseline_scores  # noqa: B018
    if "score" in card.needs:
        block.scores  # noqa: B018
