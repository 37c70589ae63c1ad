"""Random streams: fixed by (seed, row), independent of mates, cuts and torch's own generator."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enodo import BadArgument
from enodo.core.streams import Streams, deviations
from enodo.core.values import Values

keys = st.lists(st.tuples(st.integers(0, 50)), min_size=1, max_size=6, unique=True)


def draws(seed: int, rows: list[tuple[int, ...]], times: int = 3) -> list[torch.Tensor]:
    streams, like = Streams(seed, rows), Values([torch.zeros(len(rows), 4, dtype=torch.float64)])
    return [
        torch.cat([streams.normal(like).leaves[0], streams.uniform()[:, None], streams.integers(9)[:, None]], 1)
        for _ in range(times)
    ]


@given(st.integers(0, 2**40), keys)
def test_a_row_draws_what_it_draws_alone(seed, rows):
    together = draws(seed, rows)
    for i, row in enumerate(rows):
        for whole, alone in zip(together, draws(seed, [row]), strict=True):
            assert torch.equal(whole[i : i + 1], alone)


@given(st.integers(0, 2**40), keys)
def test_the_order_of_rows_does_not_matter(seed, rows):
    assert torch.equal(draws(seed, rows)[-1], draws(seed, rows[::-1])[-1].flip(0))


def test_rows_copies_seeds_and_times_all_differ():
    streams = {(s, k): draws(s, [k])[t] for s in (0, 1, 2) for k in ((0,), (1,), (0, 1), (1, 0)) for t in (0,)}
    first = list(streams.values())
    assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])
    one, two, _ = draws(0, [(0,)])
    assert not torch.equal(one, two)


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    got = draws(0, [(0,)])
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(got, draws(0, [(0,)]), strict=True))


def test_the_numbers_are_distributed_as_they_say():
    """Mean and variance of 40,000 draws, to four standard errors; each of five integers a fifth of the time."""
    n, streams = 200, Streams(3, [(i,) for i in range(200)])
    normal = streams.normal(Values([torch.zeros(n, 200)])).leaves[0]
    assert normal.dtype == torch.float32
    assert abs(normal.mean().item()) < 4 / math.sqrt(normal.numel())
    assert abs(normal.var().item() - 1) < 4 * math.sqrt(2 / normal.numel())
    between = normal.mean(1)  # rows are independent: the variance of their means is 1/200
    assert abs(between.var().item() * 200 - 1) < 4 * math.sqrt(2 / n)
    uniform = torch.stack([streams.uniform() for _ in range(50)])
    assert uniform.dtype == torch.float64
    assert 0 <= uniform.min() <= uniform.max() < 1
    assert abs(uniform.mean().item() - 0.5) < 4 * math.sqrt(1 / 12 / uniform.numel())
    integers = torch.stack([streams.integers(5) for _ in range(50)])
    share = integers.flatten().bincount(minlength=5) / integers.numel()
    assert ((share - 0.2).abs() < 4 * math.sqrt(0.16 / integers.numel())).all()


def test_half_precision_has_the_numbers_of_single():
    like = Values([torch.zeros(2, 3, dtype=torch.float32)])
    single = Streams(0, [(0,), (1,)]).normal(like).leaves[0]
    half = Streams(0, [(0,), (1,)]).normal(like.map(lambda t: t.bfloat16())).leaves[0]
    assert torch.equal(half, single.bfloat16())


def test_deviations_for_all_or_for_each_tensor():
    x = Values([torch.zeros(2, 3), torch.zeros(2, dtype=torch.float64)])
    assert [float(t) for t in deviations(0.5, x).leaves] == [0.5, 0.5]
    assert [float(t) for t in deviations((0.5, 2), x).leaves] == [0.5, 2.0]
    assert [t.dtype for t in deviations(1, x).leaves] == [torch.float32, torch.float64]
    for bad in (-1, float("nan"), True, "0.1", None, (0.1,), (0.1, -1.0), (0.1, 0.1, 0.1)):
        with pytest.raises(BadArgument) as caught:
            deviations(bad, x)
        assert caught.value.argument == "noise"


def test_the_default_dtype_of_torch_changes_no_draw():
    expected = [Streams(3, [(0,), (1,)]).uniforms(4, 5), Streams(3, [(0,), (1,)]).orders(4, 5)]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        found = [Streams(3, [(0,), (1,)]).uniforms(4, 5), Streams(3, [(0,), (1,)]).orders(4, 5)]
    finally:
        torch.set_default_dtype(before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
