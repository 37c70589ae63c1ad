"""The core as a whole, over shapes, dtypes, batch sizes and structures drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import enodo
from enodo.core import tree as trees
from tests.core.trees import nests
from tests.laws import ask as asked

pytestmark = pytest.mark.filterwarnings("ignore::enodo.core.errors.SamplingWarning")

# Of neurons, or of a batch, whose rows are dealt among each other: their own tests.
METHODS = [name for name in asked.METHODS if name not in ("neuron_conductance", "feature_permutation")]
methods = st.sampled_from(["gradient", "input_x_gradient", "integrated_gradients", "gradient_shap", "smoothgrad"])
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def tensors_of(tree: Any) -> list[Tensor]:
    return [t for _, t in trees.leaves(tree) if isinstance(t, Tensor)]


def score(tree: Any) -> Tensor:
    """sum_i c_i x_i^2 + the product of the rows' sums: every tensor matters, and they matter together."""
    found = tensors_of(tree)
    rows = [t.reshape(len(t), -1) for t in found]
    squares = sum((i + 1) * r.square().sum(1) for i, r in enumerate(rows))
    return squares + torch.stack([r.sum(1) for r in rows]).prod(0)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Any, int]:
    """A nest of tensors with the same number of rows."""
    rows = draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))

    def leaf(shape: tuple[int, ...]) -> Tensor:
        return torch.linspace(-1, 1, max(1, rows * torch.Size(shape).numel()), dtype=dtype).view(rows, *shape)

    found = nests(st.one_of(shapes.map(leaf), st.sampled_from(["text", None])))
    tree = draw(found.filter(lambda t: len(tensors_of(t)) > 0))
    return (tree,), rows


@pytest.mark.parametrize("method", [m for m in METHODS if "map" not in enodo.methods()[m].claims])
@given(questions())
@settings(max_examples=8, deadline=None)
def test_the_answer_mirrors_the_inputs(method, question):
    """The same containers, shapes and dtypes; None where there was no tensor; the inputs as they were."""
    inputs, _ = question
    before = [t.clone() for t in tensors_of(inputs)]
    got = enodo.explain(score, inputs, method, **asked.few(method))
    pairs = list(zip(trees.leaves(inputs), trees.leaves(got.values), strict=True))
    for (path, mine), (other, theirs) in pairs:
        assert path == other
        assert (theirs.shape, theirs.dtype) == (mine.shape, mine.dtype) if isinstance(mine, Tensor) else theirs is None
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_of(inputs), strict=True))
    assert not any(t.requires_grad for t in tensors_of(inputs) + tensors_of(got.values))


@pytest.mark.parametrize("method", METHODS)
@given(questions(), st.integers(1, 12))
@settings(max_examples=5, deadline=None)
def test_neither_the_size_of_passes_nor_batch_mates_matter(method, question, batch_size):
    inputs, rows = question
    inputs = trees.map_tree(lambda t: t.double() if isinstance(t, Tensor) else t, inputs)
    whole = enodo.explain(score, inputs, method, **asked.few(method))
    cut = enodo.explain(score, inputs, method, batch_size=batch_size, **asked.few(method))
    for a, b in zip(tensors_of(whole.values), tensors_of(cut.values), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-7)
    first = trees.map_tree(lambda t: t[: rows // 2 + 1] if isinstance(t, Tensor) else t, inputs)
    alone = enodo.explain(score, first, method, **asked.few(method))
    for a, b in zip(tensors_of(whole.values), tensors_of(alone.values), strict=True):
        torch.testing.assert_close(a[: len(b)], b, atol=1e-9, rtol=1e-7)


@given(questions())
def test_completeness(question):
    """Integrated gradients of a polynomial of degree n are exact with n/2 Gauss nodes."""
    inputs, _ = question
    doubles = trees.map_tree(lambda t: t.double() if isinstance(t, Tensor) else t, inputs)
    degree = max(2, len(tensors_of(doubles)))
    got = enodo.explain(score, doubles, steps=degree)
    total = sum(t.reshape(len(t), -1).sum(1) for t in tensors_of(got.values))
    torch.testing.assert_close(total, score(doubles) - score(trees.map_tree(torch.zeros_like, (tensors_of(doubles),))))


@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), methods, st.integers(1, 5))
def test_dtypes_go_through(dtype, method, rows):
    x = torch.linspace(-1, 1, rows * 3).view(rows, 3).to(dtype)
    got = enodo.explain(lambda x: x.square().sum(1), x, method, **asked.few(method))
    assert got.dtype == dtype
    assert got.scores is not None
    assert got.scores.dtype == dtype
    if method == "gradient":
        assert torch.equal(got.tensor, 2 * x)


@given(st.integers(1, 4), shapes)
def test_memory_layout_does_not_matter(rows, shape):
    x = torch.randn(rows, *shape, dtype=torch.float64)
    for other in (x.expand(1, *x.shape)[0], x.movedim(-1, 0).contiguous().movedim(0, -1), x[:, None].clone()[:, 0]):
        one, two = (enodo.explain(score, v, steps=2).tensor for v in (x, other))
        torch.testing.assert_close(one, two, atol=1e-14, rtol=0)
