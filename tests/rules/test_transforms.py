"""Rules and torch.func: around rules its transforms work; within a model, where rules cannot see, they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.rules import Rules
from enodo.core.tables import UnknownOperation
from enodo.rules import GUIDED
from enodo.testing.models import normal, seeded

FIRST, SECOND = seeded(nn.Linear(4, 5)), seeded(nn.Linear(5, 3))


def row(x: Tensor) -> Tensor:
    return SECOND(torch.relu(FIRST(x)).tanh()).sum(-1)


MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "vmap": lambda x: torch.func.vmap(row)(x),
    "vmap of parts": lambda x: torch.vmap(lambda h: h.relu().tanh())(FIRST(x)).sum(1),
    "grad": lambda x: torch.func.vmap(torch.func.grad(row))(x).sum(1),
    "jvp": lambda x: torch.func.jvp(lambda t: FIRST(t).relu(), (x,), (torch.ones_like(x),))[1].sum(1),
}


@pytest.mark.parametrize("method", ["deeplift", "lrp", "guided_backprop"])
@pytest.mark.parametrize("name", MODELS)
def test_transforms_in_a_model_are_refused(name: str, method: str) -> None:
    with pytest.raises(UnknownOperation, match=r"within torch\.func .*where rules have no say"):
        enodo.explain(MODELS[name], normal(2, 4), method)


def test_what_rules_do_not_treat_may_be_transformed() -> None:
    """Means over rows of a batch of vectors, exp beside: linear, and of no concern to guided backpropagation."""
    found = enodo.explain(lambda x: torch.func.vmap(lambda r: r.reshape(2, 2).sum())(x.exp()), normal(2, 4), "deeplift")
    assert found.delta.abs().max() < 1e-12
    model = lambda x: torch.func.vmap(lambda r: r.exp().sum())(x.relu())  # noqa: E731
    x = normal(2, 4)
    torch.testing.assert_close(enodo.explain(model, x, "guided_backprop").tensor, (x > 0) * x.relu().exp())


def test_transforms_around_rules() -> None:
    """Rules under torch.func.grad, vjp, jacrev and vmap of them are those of autograd."""

    def score(x: Tensor) -> Tensor:
        with Rules(GUIDED):
            return SECOND(F.relu(FIRST(x))).sum()

    x = normal(3, 4)
    true = enodo.explain(lambda x: SECOND(F.relu(FIRST(x))).sum(1), x, "guided_backprop").tensor
    ways: dict[str, Any] = {
        "grad": torch.func.grad(score)(x),
        "vmap of grad": torch.func.vmap(torch.func.grad(score))(x),
        "vjp": torch.func.vjp(score, x)[1](torch.ones((), dtype=x.dtype))[0],
        "jacrev": torch.func.jacrev(score)(x),
    }
    for name, found in ways.items():
        torch.testing.assert_close(found, true, msg=name)


@pytest.mark.parametrize("transform", [torch.func.vmap, lambda f: torch.func.grad(lambda x: f(x).sum())])
def test_explaining_within_a_transform_is_refused(transform: Any) -> None:
    with pytest.raises(enodo.BadArgument, match=r"within torch\.func.*create_graph=True"):
        transform(lambda x: enodo.explain(row, x.reshape(-1, 4), "gradient").tensor)(normal(2, 4))
