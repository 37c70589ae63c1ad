"""`check_method` lets a good method pass, and each law sees a method that breaks it."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import enodo
from enodo import BadArgument, Question, Values
from enodo.testing import LAWS, Case, LawBroken, Trial, check_method
from enodo.testing.answers import same

DRAWS = itertools.count()
SHARED: dict[str, Any] = {}


def doubled(q: Question) -> Values:
    """A method that keeps every law."""
    _, g = q.gradient()
    return g * 2


def mixes_rows(q: Question) -> Values:
    _, g = q.gradient()
    return g.map(lambda t: t - t.mean(0))


def knows_its_chunk(q: Question) -> Values:
    return doubled(q) * q.budget.limit


def takes_too_many_rows(q: Question) -> Values:
    q.passed(q.x.map(lambda t: t.expand(64, *t.shape)), 64)
    return doubled(q)


def hides_what_ran_out(q: Question) -> Values:
    try:
        return doubled(q)
    except (RuntimeError, MemoryError):
        raise ValueError("it did not work") from None


def explains_the_first_target(q: Question) -> Values:
    answer = doubled(q)
    return answer.map(lambda t: t[:1].expand_as(t)) if q.many else answer


def minds_the_container(q: Question) -> Values:
    return doubled(q) * (1 if isinstance(q.call.inputs, torch.Tensor) else 2)


def minds_the_place(q: Question) -> Values:
    return doubled(q) * (1 if q.wrt is q.entry else 2)


def works_in_single(q: Question) -> Values:
    return doubled(q).map(lambda t: t.float().to(t.dtype))


def credits_what_is_ignored(q: Question) -> Values:
    return doubled(q) + 1e-3


def sums_features(q: Question) -> Values:
    return doubled(q).map(lambda t: t.flatten(1).sum(1))


def keeps_a_graph(q: Question) -> Values:
    with torch.enable_grad():
        return doubled(q).map(lambda t: t * torch.ones((), requires_grad=True))


def leaves_a_hook(q: Question) -> Values:
    for module in q.call.model.modules():
        module.register_forward_hook(lambda *_: None)
    return doubled(q)


def writes_into_the_inputs(q: Question) -> Values:
    q.call.inputs.add_(1).sub_(1)
    return doubled(q)


def collects_parameter_gradients(q: Question) -> Values:
    with torch.enable_grad():
        q.call().sum().backward()
    return doubled(q)


def freezes_and_forgets(q: Question) -> Values:
    kept = [(p, p.requires_grad) for p in q.call.model.parameters()]
    for p, _ in kept:
        p.requires_grad_(False)
    answer = doubled(q)
    for p, was in kept:
        p.requires_grad_(was)
    return answer


def swallows_exceptions(q: Question) -> Values:
    try:
        return doubled(q)
    except Exception:  # noqa: BLE001
        return q.x * 0


def draws_globally(q: Question) -> Values:
    return doubled(q) * (1 + torch.rand(()))


def seeds_globally(q: Question) -> Values:
    torch.manual_seed(q.seed)
    return doubled(q)


def reads_the_global_seed(q: Question) -> Values:
    return doubled(q) * (1 + torch.initial_seed() % 7)


def never_the_same(q: Question) -> Values:
    return doubled(q) * (1 + next(DRAWS))


def ignores_its_seed(q: Question) -> Values:
    q.memo["stderr"] = q.x * 0 + 1
    return doubled(q)


def warns_of_nothing(q: Question) -> Values:
    warnings.warn("something may be", UserWarning, stacklevel=2)
    return doubled(q)


def shares_a_variable(q: Question) -> Values:
    SHARED["answer"] = doubled(q)
    time.sleep(0.001)
    answer: Values = SHARED["answer"]
    return answer


def detaches(q: Question) -> Values:
    return doubled(q).map(torch.Tensor.detach)


def claims_too_much(q: Question) -> Values:
    return doubled(q)


def minds_how_the_model_was_made(q: Question) -> Values:
    return doubled(q) * (2 if next(q.call.model.parameters()).is_inference() else 1)


BROKEN: list[tuple[str, Callable[..., Values]]] = [
    ("shape", sums_features),
    ("shape", keeps_a_graph),
    ("completeness", claims_too_much),
    ("rows", mixes_rows),
    ("chunks", knows_its_chunk),
    ("chunks", takes_too_many_rows),
    ("memory", hides_what_ran_out),
    ("targets", explains_the_first_target),
    ("structure", minds_the_container),
    ("identity", minds_the_place),
    ("dtypes", works_in_single),
    ("ignored", credits_what_is_ignored),
    ("state", leaves_a_hook),
    ("state", writes_into_the_inputs),
    ("state", collects_parameter_gradients),
    ("state", draws_globally),
    ("state", seeds_globally),
    ("faults", freezes_and_forgets),
    ("faults", swallows_exceptions),
    ("randomness", draws_globally),
    ("randomness", reads_the_global_seed),
    ("randomness", never_the_same),
    ("randomness", ignores_its_seed),
    ("callers", minds_how_the_model_was_made),
    ("warns", warns_of_nothing),
    ("threads", shares_a_variable),
    ("differentiable", detaches),
]


@pytest.mark.parametrize(("law", "method"), BROKEN, ids=lambda v: getattr(v, "__name__", v))
def test_a_law_sees_who_breaks_it(law: str, method: Callable[..., Values]) -> None:
    claims = ["completeness"] if method is claims_too_much else []
    with pytest.raises(LawBroken) as raised:
        check_method(method, laws=[law], cases=["rows"], claims=claims)
    assert raised.value.law == law
    assert method.__name__ in str(raised.value)
    assert isinstance(raised.value, AssertionError)


@pytest.mark.parametrize("seed", [4, 12345])
def test_who_reads_the_global_seed_is_seen_whatever_that_is(seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with pytest.raises(LawBroken):
            check_method(reads_the_global_seed, laws=["randomness"], cases=["rows"])


def test_every_law_can_be_broken() -> None:
    assert {law for law, _ in BROKEN} == set(LAWS)


def test_a_good_method_passes_all() -> None:
    check_method(doubled)


@pytest.mark.parametrize("name", ["gradient", "integrated_gradients", "gradient_shap"])
def test_registered_methods_pass_all(name: str) -> None:
    few = {"integrated_gradients": {"steps": 8}, "gradient_shap": {"samples": 3}}
    check_method(name, options=few.get(name), cases=["rows", "tokens"])


def test_models_that_differ_are_seen() -> None:
    x = torch.ones(2, 3, dtype=torch.float64)
    question = Trial(doubled, Case("tanh", torch.tanh, x, 1))
    same(question, [Case("another tanh", lambda t: t.tanh(), x, 1)])
    with pytest.raises(LawBroken, match="written as sine"):
        same(question, [Case("sine", torch.sin, x, 1)])


def test_a_method_that_returns_no_values_is_told_so() -> None:
    with pytest.raises(BadArgument, match="method: got nothing_much, which returned 3; expected Values"):
        enodo.explain(torch.tanh, torch.ones(2, 3), _named("nothing_much", 3), target=1)


def test_unknown_laws_and_cases_are_refused() -> None:
    with pytest.raises(BadArgument, match=r"laws: got 'row'.*'rows'"):
        check_method(doubled, laws=["row"])
    with pytest.raises(BadArgument, match=r"cases: got 'token'.*'tokens'"):
        check_method(doubled, cases=["token"])


def _named(name: str, answer: Any) -> Callable[[Question], Any]:
    def method(q: Question) -> Any:
        return answer

    method.__name__ = name
    return method
