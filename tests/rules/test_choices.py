"""What is taken from another place at the baseline than at the inputs; ties, and bounds that the model computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import enodo
from enodo.core.tables import UnknownOperation
from enodo.testing.models import normal
from tests.rules.test_background import need_pairs
from tests.rules.test_completeness import need_complete

ROUTER, EXPERTS = normal(6, 3, seed=7), normal(3, 6, 5, seed=8)


def _expert(x: Tensor) -> Tensor:
    """Each of four tokens is read by the two of three experts that a router likes best."""
    weights, which = (x @ ROUTER).topk(2, 2)
    every = torch.einsum("bti,eio->bteo", x, EXPERTS).tanh()
    taken = every.take_along_dim(which[..., None], 2)
    return (weights.softmax(2)[..., None] * taken).sum((1, 2, 3))


def _rows(x: Tensor) -> Tensor:
    """The token of each row with the largest first number, by the row's own number."""
    return x[torch.arange(len(x)), x[..., 0].argmax(1)].tanh().sum(1)


def _written(x: Tensor) -> Tensor:
    """Written where the model says: by a mask, at indices, into what was there."""
    y = x.sin()
    y[x > 0.5] = 0.5
    y = y.scatter(2, x.argmax(2, keepdim=True), x[..., 1:2].exp())
    y[x < -1] = x[x < -1]
    return y.index_put((torch.arange(len(x)), x[:, :, 0].argmin(1)), x[:, 0].square()).sum((1, 2))


CHOSEN: dict[str, Callable[[Tensor], Tensor]] = {
    "expert": _expert,
    "rows": _rows,
    "sorted by another": lambda x: (x.gather(1, x.sin().argsort(1)) * torch.arange(1, 25).view(4, 6)).sum((1, 2)),
    "taken": lambda x: torch.stack([r.take(r.flatten().topk(3)[1]).exp().sum() for r in x]),
    "looked up": lambda x: torch.stack([F.embedding(r[:, 0].argmax().view(1), r.tanh()).sum() for r in x]),
    "masked": lambda x: (x.masked_fill(x < x.median(2, keepdim=True)[0], 0.0) * x).sum((1, 2)),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_choices_are_complete(name: str) -> None:
    need_complete(CHOSEN[name], normal(3, 4, 6), normal(3, 4, 6, seed=1))
    need_complete(CHOSEN[name], normal(3, 4, 6), normal(4, 6, seed=2))
    x, own = normal(3, 4, 6), enodo.explain(CHOSEN[name], normal(3, 4, 6), "gradient").tensor
    torch.testing.assert_close(enodo.explain(CHOSEN[name], x, "deeplift", baseline=x, multiply=False).tensor, own)


@pytest.mark.parametrize("name", ["expert", "rows", "sorted by another"])
def test_against_a_background_they_are_those_of_pairs(name: str) -> None:
    need_pairs(CHOSEN[name], normal(3, 4, 6), normal(4, 4, 6, seed=1))


@pytest.mark.parametrize("low", [float("-inf"), -1e9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_who_is_masked_may_be_another_one_at_the_baseline(low: float, dtype: torch.dtype) -> None:
    """Softmax over the three largest, as routers have it: masked entries carry their change of probability."""
    weights = torch.arange(6, dtype=dtype)

    def router(x: Tensor) -> Tensor:
        return (x.masked_fill(x < x.topk(3, 1)[0][:, -1:], low).softmax(1) * weights).sum(1)

    def scattered(x: Tensor) -> Tensor:
        kept, which = x.topk(3, 1)
        return (torch.full_like(x, low).scatter(1, which, kept).softmax(1) * weights).sum(1)

    def gated(x: Tensor) -> Tensor:
        kept, which = x.topk(3, 1)
        return (torch.full_like(x, low).scatter(1, which, kept).sigmoid() * weights).sum(1)

    x, x0 = normal(4, 6).to(dtype), normal(4, 6, seed=1).to(dtype)
    for model in (router, scattered, gated):
        found = enodo.explain(model, x, "deeplift", baseline=x0)
        assert (found.delta.abs() <= torch.finfo(dtype).eps ** 0.7 * (1 + found.tensor.abs().sum(1))).all()


def test_writing_where_the_model_says() -> None:
    """What each of two writes takes away goes with it; values written in one at a time have one place a value."""
    found = enodo.explain(_written, normal(1, 4, 6), "deeplift", baseline=normal(1, 4, 6).flip(2))
    assert found.delta.abs().max() < 1e-9


def test_two_places_share_in_proportion_to_their_changes() -> None:
    """From 4, taken from the first, to 5, taken from the second: they change by -3 and 3, and carry a half each."""
    x, x0 = torch.tensor([[1.0, 5.0]]), torch.tensor([[4.0, 2.0]])
    ways: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.gather(1, x.argmax(1, keepdim=True))[:, 0],
        lambda x: x[torch.arange(len(x)), x.argmax(1)],
        lambda x: torch.where(x[:, 0] > x[:, 1], x[:, 0], x[:, 1]),
        lambda x: x[:, 0].masked_scatter(x[:, 0] < x[:, 1], x[:, 1]),
    ]
    for way in ways:
        found = enodo.explain(way, x, "deeplift", baseline=x0, multiply=False)
        torch.testing.assert_close(found.tensor, torch.tensor([[-1 / 6, 1 / 6]]))


MEETING: dict[str, Callable[[Tensor], Tensor]] = {
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, x.argsort(1), x)[:, 0],
    "scatter_reduce": lambda x: torch.zeros_like(x).scatter_reduce(1, x.argsort(1), x, "sum")[:, 0],
    "embedding_bag": lambda x: torch.stack([F.embedding_bag(r.argsort()[None], r[:, None])[0, 0] for r in x]),
    "nll_loss": lambda x: F.nll_loss(x, x.argmax(1), reduction="none"),
}


@pytest.mark.parametrize("name", MEETING)
def test_places_at_which_entries_meet_are_refused(name: str) -> None:
    with pytest.raises(UnknownOperation, match=f"{name}.*other ones at the baseline.*switch features off"):
        enodo.explain(MEETING[name], normal(2, 5), "deeplift", baseline=-normal(2, 5))
    same = enodo.explain(MEETING[name], normal(2, 5), "deeplift", baseline=2 * normal(2, 5))
    assert same.delta.abs().max() < 1e-9


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="a later torch")
def test_experts_in_one_product_are_those_one_by_one() -> None:
    """What rows are given to an expert may not change; relevance is that of as many layers."""
    experts = normal(3, 8, 4).float()

    def model(x: Tensor, apart: bool = False) -> Tensor:
        which, order = x[:, 0].gt(0).int().sort()
        ends = torch.bincount(which, minlength=3).cumsum(0)
        if apart:
            parts = x[order].tensor_split(ends[:-1])
            return torch.cat([r @ w for r, w in zip(parts, experts, strict=True)])[order.argsort()].relu().sum(1)
        return F.grouped_mm(x[order], experts, offs=ends.int())[order.argsort()].relu().sum(1)

    x = normal(6, 8).float()
    for method, more in (("deeplift", {"baseline": x / 2}), ("lrp", {"composite": "gamma", "balance": True})):
        found, true = (enodo.explain(model, x, method, kwargs={"apart": a}, **more) for a in (False, True))
        torch.testing.assert_close(found.tensor, true.tensor)
    with pytest.raises(UnknownOperation, match=r"grouped_mm.*other ones at the baseline.*switch features off"):
        enodo.explain(model, x, "deeplift", baseline=x.abs())


@pytest.mark.parametrize("smallest", [1, 2])
def test_entries_that_change_places_at_a_tie_carry_nothing(smallest: int) -> None:
    """Of the ReLUs 1, 0, 0 (0, 1, 0 at the baseline) the two smallest are 0 and 0 both times."""
    x, x0 = torch.tensor([[1.0, -1.0, -2.0]]), torch.tensor([[-1.0, 1.0, -2.0]])
    for way in (lambda x: x.relu().kthvalue(smallest, 1)[0], lambda x: x.relu().sort(1)[0][:, smallest - 1]):
        assert not enodo.explain(way, x, "deeplift", baseline=x0).tensor.any()


def test_bounds_that_the_model_computes() -> None:
    """A clamp from above is torch.minimum; relevance goes to the bound where it binds."""
    x, x0 = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]])
    for way in (lambda x: x[:, 0].clamp(max=x[:, 1]), lambda x: torch.clamp_max(x[:, 0], x[:, 1])):
        ours = enodo.explain(way, x, "deeplift", baseline=x0)
        true = enodo.explain(lambda x: torch.minimum(x[:, 0], x[:, 1]), x, "deeplift", baseline=x0)
        assert torch.equal(ours.tensor, true.tensor)
        assert enodo.explain(way, x0, "lrp").tensor.tolist() == [[0.0, 1.0]]
    need_complete(lambda x: x.clamp(x.sin(), x.cos() + 1).clamp_min(x - 1).sum((1, 2)), normal(2, 4, 6), 0.3)


def test_steps() -> None:
    """heaviside has no gradient in torch, and needs none where an entry is as at the baseline."""
    x = normal(2, 4, 6)
    x0 = torch.cat([x[:, :2], normal(2, 2, 6, seed=1)], 1)
    need_complete(lambda x: (torch.heaviside(x, torch.ones(()).double()) * x[:, :1]).sum((1, 2)), x, x0)


def test_a_rule_for_an_operation_with_several_results_is_refused() -> None:
    """Else all but the first would be off the path in silence."""
    with pytest.raises(UnknownOperation, match=r"'aminmax'.*several tensors"):
        enodo.explain(lambda x: x.aminmax(dim=1).max, normal(2, 5), "lrp", rules={"aminmax": lambda op: op.vjp})


def test_relevance_of_both_ends() -> None:
    x = torch.tensor([[1.0, 5.0, 2.0]], dtype=torch.float64)
    found = enodo.explain(lambda x: x.aminmax(dim=1).max, x, "lrp", balance=True, create_graph=True)
    assert found.tensor.tolist() == [[0.0, 5.0, 0.0]]
    assert found.details["lost"].abs().max() == 0


def test_constants_that_a_model_writes_take_their_relevance() -> None:
    """y = x with y[1] = 7, and hardsigmoid(0) = 1/2 where nothing is to be shared."""

    def model(x: Tensor) -> Tensor:
        y = x * 1
        y[:, 1] = 7.0
        return y.sum(1) + F.hardsigmoid(x.relu()).sum(1)

    found = enodo.explain(model, torch.tensor([[2.0, 3.0, -1.0]]), "lrp", balance=True)
    torch.testing.assert_close(found.details["constants"], torch.tensor([7.5]))
    torch.testing.assert_close(found.details["lost"], torch.zeros(1), atol=1e-6, rtol=0)
