"""`Values`: several tensors as one vector."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enodo.core.values import Form, Values, accumulator, along, chosen, concat, is_continuous
from tests.core.trees import Pair, nests

shapes = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)


def vector(shape: list[list[int]], seed: int = 0) -> Values:
    generator = torch.Generator().manual_seed(seed)
    return Values(torch.randn(s, generator=generator, dtype=torch.float64) for s in shape)


def same(a: Values, b: Values) -> bool:
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a.leaves, b.leaves, strict=True))


@given(shapes)
def test_a_vector_space(shape):
    a, b = vector(shape), vector(shape, 1)
    assert same(a + b, b + a)
    assert same(a - b, a + -b)
    assert same(a * 2, a + a)
    assert same(2 * a, a * 2)
    assert same((a * b) / b, Values((s * t) / t for s, t in zip(a.leaves, b.leaves, strict=True)))
    assert same(a + 1, 1 + a)
    assert not len(Values(()))


@given(shapes)
def test_the_sum_of_a_row_is_the_sum_over_everything_of_it(shape):
    rows = 3
    v = Values(t.expand(rows, *t.shape).clone() for t in vector(shape).leaves)
    for t in v.leaves:
        t[1] *= 2
    total = sum(t.sum() for t in vector(shape).leaves)
    got = v.rowsum(torch.zeros(rows))
    torch.testing.assert_close(got, torch.stack([total, 2 * total, total]), atol=1e-12, rtol=0)


def test_the_sum_of_a_row_with_targets_and_points_before_it():
    v = Values([torch.ones(4, 2, 3, 5), torch.ones(4, 2, 3)])  # k, T, B
    assert torch.equal(v.rowsum(torch.zeros(4, 2, 3)), torch.full((4, 2, 3), 6.0))


@given(shapes, st.integers(1, 5))
def test_a_weighted_sum_over_points(shape, k):
    v = Values(t.expand(k, *t.shape) * torch.arange(1.0, k + 1).view(-1, *[1] * t.ndim) for t in vector(shape).leaves)
    weights = torch.arange(k, dtype=torch.float64)
    factor = float((weights * torch.arange(1, k + 1)).sum())
    for got, t in zip(v.weighted(weights).leaves, vector(shape).leaves, strict=True):
        torch.testing.assert_close(got, t * factor, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_adds_up_in_single(dtype):
    """4096 ones: in half precision the sum would stick at 2048 (256 in bfloat16)."""
    got = Values([torch.ones(4096, 2, dtype=dtype)]).weighted(torch.ones(4096, dtype=torch.float64))
    assert got.leaves[0].dtype == torch.float32
    assert torch.equal(got.leaves[0], torch.full((2,), 4096.0))
    assert got.to_dtype_of(Values([torch.ones(1, dtype=dtype)])).leaves[0].dtype == dtype
    assert accumulator(torch.float64) == torch.float64


def test_every_leaf_gets_its_own_dtype_back():
    mixed = Values([torch.ones(2), torch.ones(2, dtype=torch.float64)])
    out = Values([torch.ones(2, dtype=torch.float64)] * 2).to_dtype_of(mixed)
    assert [t.dtype for t in out.leaves] == [torch.float32, torch.float64]


def test_points_become_rows():
    v = Values([torch.arange(24).view(2, 3, 4)])
    assert torch.equal(v.flatten().leaves[0], torch.arange(24).view(6, 4))


def test_joining_and_aligning():
    a, b = Values([torch.zeros(1, 2)]), Values([torch.ones(2, 2)])
    assert same(concat([a, b], 0), Values([torch.tensor([[0.0, 0], [1, 1], [1, 1]])]))
    assert concat([a], 0) is a
    assert along(torch.ones(3), torch.ones(2, 3, 4, 5), lead=1).shape == (3, 1, 1)


@given(nests(st.sampled_from([1, "text", None, torch.ones(2, 3), torch.zeros(2, dtype=torch.long)])))
def test_a_form_refills_what_it_took_apart(value):
    form, found = Form.of(value)
    assert all(is_continuous(t) for t in found)
    refilled, again = Form.of(form.fill([t + 1 for t in found]))
    assert refilled.paths == form.paths
    assert all(torch.equal(b, a + 1) for a, b in zip(found, again, strict=True))


def test_blanks_are_zeros_for_tensors_and_none_for_the_rest():
    form, _ = Form.of(Pair(torch.ones(2, 3), (torch.ones(2, dtype=torch.long), "text", None)))
    got = form.fill_blank([torch.full((2, 3), 7.0)], torch.ones(2, 3))
    assert torch.equal(got.left, torch.full((2, 3), 7.0))
    assert torch.equal(got.right[0], torch.zeros(2))
    assert got.right[1:] == (None, None)
    several = form.fill_blank([torch.ones(4, 2, 3)], torch.ones(4, 2, 3, dtype=torch.float64), lead=1)
    assert several.right[0].shape == (4, 2)
    assert several.right[0].dtype == torch.float64


def test_complex_numbers_are_continuous_and_integers_are_not():
    assert is_continuous(torch.zeros(1, dtype=torch.complex64))
    for dtype in (torch.bool, torch.uint8, torch.int64):
        assert not is_continuous(torch.zeros(1, dtype=dtype))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.long, torch.bool]
)
def test_what_is_chosen_is_that_of_where_to_the_bit(dtype):
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 3e38])
    here = torch.cat([odd if dtype.is_floating_point else odd.isfinite(), torch.randn(95) > 0]).to(dtype)
    there = here.flip(0)[None, None]
    mask = torch.rand(64, 3, 100) < 0.5
    for some in (mask, mask[:2]):  # by arithmetic, and as it was
        found, wanted = chosen(some, here, there), torch.where(some, here, there)
        assert found.dtype == dtype
        assert torch.equal(found.view(torch.uint8), wanted.view(torch.uint8))


def test_what_is_chosen_keeps_its_gradient():
    here, mask = torch.randn(100, requires_grad=True), torch.rand(64, 100) < 0.5
    (g,) = torch.autograd.grad(chosen(mask, here, torch.zeros(1)).sum(), here)
    assert torch.equal(g, mask.sum(0).to(g))
