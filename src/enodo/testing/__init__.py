"""The laws that every method keeps, to be asked of a method of your own.

>>> from enodo.testing import check_method
>>> def my_gradient(q):
...     _, g = q.gradient()
...     return g * 2
>>> check_method(my_gradient, laws=["shape", "rows", "chunks"])

`check_method` asks the method about small models and raises `LawBroken` (an AssertionError) with the law, the question
and the numbers. In a test suite, let each law be a test of its own: parametrize over `LAWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from enodo import Values
from enodo.core.errors import nearest, refuse

from . import answers, conduct
from .case import Case, LawBroken, Trial
from .models import CASES
from .state import State

Law = Callable[[Trial], None]

LAWS: dict[str, Law] = {
    law.__name__: law
    for law in (
        answers.shape, answers.completeness, answers.rows, answers.chunks, answers.memory, answers.targets,
        answers.structure, answers.identity, answers.dtypes, answers.ignored, conduct.state, conduct.faults,
        conduct.randomness, conduct.callers, conduct.warns, conduct.threads, conduct.differentiable,
    )
}  # fmt: skip


def check_method(
    method: str | Callable[..., Values],
    *,
    options: Mapping[str, Any] | None = None,
    claims: Iterable[str] | None = None,
    laws: Iterable[str] = tuple(LAWS),
    cases: Iterable[str] = tuple(CASES),
    layers: bool = True,
) -> None:
    """Ask whether a method keeps the laws; the first that it does not keep is raised as `LawBroken`.

    method   a function `Question -> Values`, or the name of a registered one
    options  the method's own options
    claims   what it claims, "completeness" for one; by default what its Card says
    laws     names of `LAWS`
    cases    names of `enodo.testing.models.CASES`
    layers   whether the method can be asked about layers and neurons, and not about the inputs alone
    """
    for name in laws:
        if name not in LAWS:
            refuse("laws", repr(name), "the name of a law", nearest(name, LAWS))
    for name in cases:
        if name not in CASES:
            refuse("cases", repr(name), "the name of a case", nearest(name, CASES))
    claimed = None if claims is None else frozenset(claims)
    for law in laws:
        for case in cases:
            for trial in _trials(method, CASES[case](), options or {}, claimed, layers):
                LAWS[law](trial)


def _trials(method: Any, case: Case, options: Mapping[str, Any], claims: Any, layers: bool) -> Iterator[Trial]:
    """The questions about a case: at the inputs, at a layer, of a neuron."""
    yield Trial(method, case, options, claims=claims)
    if layers and case.layers:
        yield Trial(method, case, options, wrt=case.layers[-1], claims=claims)
        yield Trial(method, case, options, of=case.layers[0], claims=claims)


__all__ = ["LAWS", "Case", "LawBroken", "State", "Trial", "check_method"]
