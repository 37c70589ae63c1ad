"""The questions that laws are asked about: every method at every zoo model, with few steps and samples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import enodo
from enodo import INPUT, OUTPUT
from enodo.testing import Case, Trial
from tests.zoo import ZOO
from tests.zoo_text import TEXTS

CASES: dict[str, Callable[[], Case]] = {**ZOO, **TEXTS}
FEW = {"steps": 6, "samples": 3, "features": 3}
LEARNT = ("extremal_perturbation", "meaningful_perturbation")  # by many passes: each of the two meets every other model
FEWER: dict[str, dict[str, Any]] = {  # where three features are not few enough
    "rise": {"max_evaluations": 16}, "sobol": {"max_evaluations": 20}, **{name: {"steps": 1} for name in LEARNT},
}  # fmt: skip
# These want a layer of places, class scores, pictures or attention; their own tests ask the laws.
APART = frozenset(
    "attention_rollout blur_ig finer_cam gradient_rollout guided_grad_cam raw_attention score_cam".split()
)
METHODS = sorted(set(enodo.methods()) - APART)
NO_LAYERS = ("function", "dense box", "dense mask", "in place on the inputs")


def few(method: str) -> dict[str, Any]:
    """Options that make a method quick."""
    known = enodo.methods()[method].options
    return {name: value for name, value in (FEW | FEWER.get(method, {})).items() if name in known}


@functools.cache
def case_of(name: str) -> Case:
    """A zoo model, made once: the laws leave it as it was."""
    return CASES[name]()


def trial(method: str, case: str | Case, wrt: Any = INPUT, of: Any = OUTPUT, **options: Any) -> Trial:
    """A question; conductance of neurons is asked through the case's first layer."""
    whole = case_of(case) if isinstance(case, str) else case
    if method == "neuron_conductance":
        options = {"through": whole.layers[0], "neuron": whole.neuron} | options
    return Trial(method, whole, few(method) | options, wrt, of)


def places(method: str, case: Case) -> Iterator[tuple[Any, Any]]:
    """Every (wrt, of) that makes sense for a method at a case: inputs, layers, several layers x output, a neuron."""
    if method == "neuron_conductance":
        yield INPUT, OUTPUT
        return
    yield INPUT, OUTPUT
    for layer in case.layers:
        yield layer, OUTPUT
    plain = [name for name in case.layers if ":" not in name and "[" not in name]
    for layer in plain[-1:]:
        yield f"{layer}:in", OUTPUT
    if len(plain) > 1:
        yield plain, OUTPUT
    for layer in plain[:1]:
        yield INPUT, layer


def every(methods: Sequence[str] = METHODS, cases: Sequence[str] = tuple(CASES)) -> list[tuple[str, str]]:
    """(method, case) for each that makes sense; neurons need a layer, and one row has none to be permuted with."""
    senseless = {("neuron_conductance", c) for c in NO_LAYERS} | {("feature_permutation", "one row")}
    met = {name: set(cases[i::2]) for i, name in enumerate(LEARNT)}
    return [(m, c) for m in methods for c in cases if (m, c) not in senseless and c in met.get(m, cases)]


def rotated(share: int) -> list[tuple[str, str, int]]:
    """(method, case, number of the place) for every `share`-th of `every()`, in turn, so that all of each are met."""
    asked = []
    for number, (method, name) in enumerate(every()):
        if (number + METHODS.index(method)) % share == 0:
            asked.append((method, name, number // share))
    return asked


def one_place(method: str, case: Case, number: int) -> tuple[Any, Any]:
    """One of the `places`, or a layer's input and a neuron of that layer, chosen by number."""
    found = list(places(method, case))
    plain = [name for name in case.layers if ":" not in name and "[" not in name]
    if plain and method != "neuron_conductance":
        found.append((f"{plain[0]}:in", plain[0]))
    return found[number % len(found)]
