"""`Attribution` used as a tensor, an array, a container, a table; and what it says about itself."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch

import enodo
from enodo import Attribution, BadArgument

X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)


@pytest.fixture
def a() -> Attribution:
    """The gradient of a quadratic, 2 x: one tensor."""
    return enodo.explain(lambda x: x.square().sum(1), X, "gradient")


def test_torch_functions_see_a_tensor(a):
    assert torch.allclose(a, 2 * X)
    assert torch.equal(torch.stack([a, a]), torch.stack([2 * X, 2 * X]))
    assert torch.equal(torch.cat((a, X), dim=0), torch.cat((2 * X, X)))
    assert torch.equal(torch.where(X > 2, a, 0.0), torch.where(X > 2, 2 * X, 0.0))
    assert torch.equal(torch.nn.functional.relu(a), 2 * X)
    assert torch.equal(torch.sum(input=a, dim=1), 2 * X.sum(1))
    torch.testing.assert_close(a.tensor, 2 * X)


def test_numpy_sees_an_array(a):
    assert np.array_equal(np.asarray(a), 2 * X.numpy())
    assert np.asarray(a, dtype=np.float32).dtype == np.float32
    assert np.array(a).mean() == pytest.approx((2 * X).mean().item())
    np.array(a, copy=True)[:] = 0
    assert torch.equal(a.tensor, 2 * X)
    assert torch.equal(torch.as_tensor(a), 2 * X)


def test_numpy_sees_what_it_has_no_type_for():
    half = Attribution(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    assert np.array_equal(np.asarray(half), np.array([1.5, -2.0], dtype=np.float32))


def test_methods_and_attributes_of_the_tensor(a):
    assert a.shape == (2, 3)
    assert a.dtype == torch.float64
    assert a.ndim == 2
    assert a.sum().item() == 42
    assert torch.equal(a.abs().amax(1), torch.tensor([6.0, 12.0], dtype=torch.float64))
    assert a.requires_grad is False
    with pytest.raises(AttributeError, match="no attribute 'sume'"):
        a.sume()


def test_arithmetic(a):
    t = 2 * X
    for got, wanted in (
        (a + 1, t + 1),
        (1 + a, 1 + t),
        (a - X, t - X),
        (X - a, X - t),
        (3 - a, 3 - t),
        (a * a, t * t),
        (2 * a, 2 * t),
        (a / 2, t / 2),
        (2 / a, 2 / t),
        (a**2, t**2),
        (2**a, 2**t),
        (a // 2, t // 2),
        (a % 3, t % 3),
        (X.T @ a, X.T @ t),
        (-a, -t),
        (abs(-a), t),
        (a @ X.T, t @ X.T),
        (a > 3, t > 3),
        (a <= X, t <= X),
    ):
        assert isinstance(got, torch.Tensor)
        assert torch.equal(got, wanted)


def test_comparisons_are_those_of_the_tensor(a):
    t = a.tensor
    for got, expected in [(a == 0, t == 0), (a != 0, t != 0), (a == t, t == t), (a == a, t == t)]:
        assert torch.equal(got, expected)
    assert len({a, a}) == 1


def test_indexing_and_length(a):
    assert torch.equal(a[0], 2 * X[0])
    assert torch.equal(a[:, 1], 2 * X[:, 1])
    assert torch.equal(a[X > 3], 2 * X[X > 3])
    assert len(a) == 2
    assert [row.sum().item() for row in a] == [12, 30]


def test_a_nested_answer_is_indexed_like_the_inputs():
    got = enodo.explain(lambda x, y: (x * y).sum(1), {"x": X, "y": 2 * X}, "gradient")
    assert torch.equal(got["x"], 2 * X)
    assert torch.equal(got["y"], X)
    assert len(got) == 2
    with pytest.raises(BadArgument, match=r"2 tensors.*Index it first"):
        got.sum()
    with pytest.raises(BadArgument, match="2 tensors"):
        torch.sum(got)
    with pytest.raises(BadArgument, match="2 tensors"):
        np.asarray(got)
    single = enodo.explain(lambda x: x.sum(1), (X,), "gradient")
    assert torch.equal(single.tensor, torch.ones_like(X))


def test_it_says_what_it_is(a):
    text = repr(a)
    for part in ("gradient", "OUTPUT", "INPUT", "float64", "(2, 3)", "2 rows"):
        assert part in text
    with_gap = enodo.explain(lambda x: x.exp().sum(1), X, steps=2)
    assert "completeness gap" in repr(with_gap)
    sampled = enodo.explain(lambda x: x * 2, X, "lime", target="predicted", max_evaluations=20)
    assert "for 2, 0 with" in repr(sampled) or "for 2, 2 with" in repr(sampled)
    assert "standard error" in repr(sampled)


def test_it_says_what_was_asked():
    """The class by its name, of one a row the first few, and how many where each was asked about."""
    model = lambda x: x.repeat(1, 2)  # noqa: E731  six classes
    said = partial(enodo.explain, model, torch.ones(7, 3), "gradient")
    one = said(target=1)
    one.class_names = ["cat", "dog"]
    assert "of OUTPUT for 1 (dog) with respect to INPUT" in repr(one)
    assert "for 0, 1, 2, 0, 1, ... with" in repr(said(target=[0, 1, 2, 0, 1, 2, 0]))
    assert "for each of 6 targets with" in repr(said(target="all"))
    assert "of OUTPUT with" in repr(enodo.explain(lambda x: x.sum(1), X, "gradient"))


def test_the_evidence(a):
    assert a.method == "gradient"
    assert a.options == {"absolute": False}
    assert a.target is None
    assert (a.wrt, a.of) == ("INPUT", "OUTPUT")
    assert a.seconds > 0
    assert a.rows == 2
    assert a.notes == []
    assert set(a.versions) >= {"enodo", "torch", "python"}
    named = enodo.explain(torch.nn.Linear(3, 2).eval(), X.float(), "saliency", target=1, wrt="", absolute=True)
    assert named.model == "Linear"
    assert named.method == "gradient"
    assert named.options == {"absolute": True}


def test_a_result_carries_no_graph_unless_asked(a):
    assert not a.tensor.requires_grad
    x = X.clone().requires_grad_()
    live = enodo.explain(lambda x: x.pow(3).sum(1), x, "gradient", create_graph=True)
    live.sum().backward()
    torch.testing.assert_close(x.grad, 6 * X)
    assert not live.detach().tensor.requires_grad
    assert live.tensor.requires_grad


def test_it_can_be_copied_and_sent(a):
    for twin in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert torch.equal(twin.tensor, a.tensor)
        assert twin.method == a.method


def test_a_table():
    frames = pytest.importorskip("pandas")
    got = enodo.explain(lambda x: x @ torch.eye(3, 2, dtype=torch.float64), X, "gradient", target="all")
    got.feature_names = ["u", "v", "w"]
    table = got.to_dataframe()
    assert isinstance(table, frames.DataFrame)
    assert list(table.columns) == ["place", "target", "row", "dim0", "feature", "attribution"]
    assert len(table) == 2 * 2 * 3
    line = table[(table.target == 1) & (table.row == 0) & (table.feature == "v")]
    assert line.attribution.tolist() == [1.0]
    nested = enodo.explain(lambda x, y: (x * y).sum(1), {"x": X, "y": X}, "gradient").to_dataframe()
    assert set(nested.place) == {"INPUT['x']", "INPUT['y']"}
