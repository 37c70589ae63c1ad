"""The memory contract: no pass above `batch_size`, even passes, measured limits, halving when memory runs out."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import enodo
from enodo import BadArgument, BadType
from enodo.core import budget as budgets
from enodo.core.budget import Budget
from enodo.core.log import Log
from enodo.core.streaming import stream
from enodo.core.values import Values

CPU = torch.device("cpu")
METHODS = {
    "gradient": {},
    "integrated_gradients": {"steps": 7},
    "conductance": {"steps": 7, "wrt": "0"},
    "internal_influence": {"steps": 7, "wrt": "0"},
    "neuron_conductance": {"steps": 7, "through": "0"},
    "gradient_shap": {"samples": 7},
    "smoothgrad": {"samples": 7},
    "activation": {"wrt": "0"},
    "feature_ablation": {},
    "k_out": {"size": 3},
}


@given(st.integers(1, 64), st.integers(1, 40), st.integers(1, 500))
def test_passes_are_even_and_within_the_limit(limit, rows, n):
    """As few passes as the limit allows, none larger than it needs to be."""
    budget, sizes, left = Budget(limit, 0, 8), [], n
    while left:
        sizes.append(budget.points(rows, left))
        left -= sizes[-1]
    most = max(1, limit // rows)
    assert max(sizes) <= most
    assert len(sizes) == -(-n // most)
    assert max(sizes) - min(sizes) <= 1


class Counter(nn.Sequential):
    """A small network that writes down the rows of each pass."""

    def __init__(self, fail_above: int | None = None) -> None:
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        self.rows: list[int] = []
        self.fail_above = fail_above
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        if self.fail_above is not None and len(x) > self.fail_above:
            raise torch.OutOfMemoryError("no room for so many rows")
        return super().forward(x)


X = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("method", METHODS)
def test_no_pass_has_more_rows_than_asked_and_the_answer_stays(method, batch_size):
    torch.manual_seed(0)
    model = Counter()
    whole = enodo.explain(model, X, method, target=1, **METHODS[method])
    model.rows.clear()
    cut = enodo.explain(model, X, method, target=1, batch_size=batch_size, **METHODS[method])
    assert max(model.rows) <= batch_size
    assert sum(model.rows) == cut.rows
    torch.testing.assert_close(cut.tensor, whole.tensor, atol=1e-13, rtol=0)


@pytest.mark.parametrize("room", [1, 2, 4, 11])
@pytest.mark.parametrize("method", METHODS)
def test_out_of_memory_halves_the_rows(method, room):
    """The same answer, in passes that fit; the number that fitted is in the result."""
    torch.manual_seed(0)
    model = Counter()
    whole = enodo.explain(model, X, method, target=1, **METHODS[method])
    model.fail_above = room
    model.rows.clear()
    cut = enodo.explain(model, X, method, target=1, **METHODS[method])
    torch.testing.assert_close(cut.tensor, whole.tensor, atol=1e-13, rtol=0)
    failed = [rows for rows in model.rows if rows > room]
    assert failed == sorted(failed, reverse=True)  # a size that failed is not tried again, nor a larger one
    assert len(set(failed)) == len(failed)
    assert not failed or cut.batch_size <= max(failed) // 2


class Back(torch.autograd.Function):
    """The identity, through which gradients of so many rows at most come back."""

    linear = True

    @staticmethod
    def forward(ctx: Any, t: Tensor, room: int) -> Tensor:
        ctx.room = room
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        if len(grads[0]) > ctx.room:
            raise torch.OutOfMemoryError("no room for so many rows")
        return grads[0], None


@pytest.mark.parametrize("room", [1, 2, 4])
@pytest.mark.parametrize("method", [*METHODS, "deeplift_shap"])
def test_out_of_memory_on_the_way_back_halves_the_rows(method, room):
    torch.manual_seed(0)
    model = Counter()
    given = METHODS.get(method, {"baseline": X[:3]})
    whole = enodo.explain(model, X, method, target=1, **given)
    model[2].register_forward_pre_hook(lambda layer, args: (Back.apply(args[0], room),))
    narrow = enodo.explain(model, X, method, target=1, **given)
    torch.testing.assert_close(narrow.tensor, whole.tensor, atol=1e-13, rtol=0)


def test_a_single_row_without_room_is_an_error():
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        enodo.explain(Counter(fail_above=0), X, target=1)


def test_other_errors_are_not_taken_for_it():
    model = Counter()
    model[1].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        enodo.explain(model, X, target=1)
    assert model.rows[0] // 2 not in model.rows


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "large", None, True])
def test_a_bad_size_is_refused(batch_size):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(Counter(), X, target=1, batch_size=batch_size)
    assert caught.value.argument == "batch_size"
    assert isinstance(caught.value, BadType) or batch_size in (0, -1)


class TestMeasuring:
    def test_the_limit_is_the_working_set_by_the_cost_of_a_row(self):
        budget = Budget("auto", 0, 1 << 20)
        assert budget.unmeasured
        cost = 1 << 20
        budget.measured(cost * 2, cost // 8, 2, CPU)
        assert not budget.unmeasured
        assert budget.limit == budgets.WORKING_SET // (cost + cost // 8)  # what is kept, and twice the largest tensor

    def test_a_few_rows_are_run_even_above_the_working_set(self, monkeypatch):
        monkeypatch.setattr(budgets, "free_memory", lambda device: float(1 << 40))
        budget = Budget("auto", 0, 1 << 20)
        budget.measured(1 << 30, 1 << 20, 1, CPU)
        assert budget.limit == budgets.FEW

    def test_but_not_above_what_is_free(self, monkeypatch):
        monkeypatch.setattr(budgets, "free_memory", lambda device: float(1 << 31))
        budget = Budget("auto", 0, 1 << 20)
        budget.measured(1 << 30, 1 << 20, 1, CPU)
        assert budget.limit == 1

    def test_a_large_tensor_bounds_the_rows(self):
        budget = Budget("auto", 0, 1 << 20)
        budget.measured(2 << 20, 2 << 20, 1, CPU)
        assert budget.limit == budgets.FEW  # 16 MiB / (2 + 2 x 2) MiB would be 2
        budget.measured(1 << 10, 1 << 20, 1, CPU)
        assert budget.limit == 7  # 16 MiB / (2 x 1) MiB and a little more

    def test_a_fixed_size_is_not_changed_by_measuring(self):
        budget = Budget(3, 0, 1 << 20)
        budget.measured(1, 1, 1, CPU)
        assert budget.limit == 3

    def test_before_any_measurement_the_guess_grows_with_inputs_and_weights(self):
        limits = [Budget("auto", weights, size).limit for weights, size in ((0, 8), (0, 10_000), (10**9, 10_000))]
        assert limits[0] > limits[1] >= limits[2] >= 1

    def test_targets_share_a_backward_pass_where_it_is_small(self):
        budget = Budget("auto", 0, 8)
        budget.measured(1000, 1000, 1, CPU)
        assert budget.parallel_targets(1) > 1000
        budget.measured(1 << 30, 1 << 20, 1, CPU)
        assert budget.parallel_targets(4) == 1


def halves(fits: int, n: int) -> list[tuple[int, int]]:
    """The passes made of n points of one row each, where only `fits` fit."""
    passes: list[tuple[int, int]] = []

    def run(x: Values, k: int) -> Any:
        if k > fits:
            raise MemoryError
        return x.leaves[0].flatten().tolist()

    points = Values([torch.arange(n)[:, None]])
    for i, j, answer in stream(Budget(64, 0, 8), Log(), 1, n, lambda i, j: points.map(lambda t: t[i:j]), run):
        assert answer == list(range(i, j))
        passes.append((i, j))
    return passes


@given(st.integers(1, 20), st.integers(1, 100))
def test_a_stream_that_is_halved_misses_and_repeats_nothing(fits, n):
    passes = halves(fits, n)
    assert [i for i, _ in passes] == [0, *(j for _, j in passes)][:-1]
    assert passes[-1][1] == n
    assert max(j - i for i, j in passes) <= fits


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, yes):
    assert budgets.is_out_of_memory(error) is yes


def test_passes_without_a_graph_are_measured_by_themselves():
    budget = Budget("auto", 0, 4 << 10)
    before = budget.limit
    budget.foresee(before)
    assert not budget.curious  # one pass will do
    budget.foresee(before + 1)
    assert budget.curious
    budget.widened(before * (64 << 10), before, CPU)
    assert (budget.most(graph=False), budget.most(), budget.curious) == (128, before, False)
    budget.halve(100)
    assert (budget.most(graph=False), budget.most()) == (min(128, 50), 50)
    fixed = Budget(3, 0, 4 << 10)
    fixed.foresee(1000)
    assert not fixed.curious


def test_passes_in_part_have_several_rows_while_a_tensor_stays_below_what_is_kept():
    budget = Budget("auto", 0, 4 << 10)
    for each, full, in_part in (
        (1 << 20, 8, 24),
        (3 << 20, 4, 10),
        (64 << 10, 128, 128),
        (6 << 20, 2, 5),
        (20 << 20, 1, 1),
    ):
        budget.widened(5 * each, 5, CPU)
        assert budget.most(graph=False) == full
        budget.widened(5 * each, 5, CPU, in_part=True)
        assert budget.most(graph=False) == in_part


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have rules of their own")
def test_the_memory_of_a_pass_is_kept_for_the_next():
    """Three tensors of 12 MiB at a time, as a convolution and what follows need: their pages are asked for once."""
    code = """if True:
        import resource, torch
        from enodo.core.budget import Budget

        def faults(passes):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(passes):
                three = [torch.ones(3 << 20) for _ in range(3)]
                del three
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        unaware = faults(5)
        Budget("auto", 0, 1 << 20)
        faults(1)
        print(unaware, faults(4))"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unaware, aware = map(int, run.stdout.split())
    assert aware < 500 < unaware / 20


def test_a_light_model_gets_more_rows_once_it_is_known_to_be_light():
    model = Counter()
    model.insert(0, nn.AvgPool1d(1024))
    x = torch.linspace(-1, 1, 3072, dtype=torch.float64).view(1, 3072)
    found = enodo.explain(model, x, "feature_ablation", features=300, target=1)
    first, *others = model.rows
    assert max(others) > first
    assert sum(model.rows) == 301
    few = enodo.explain(model, x, "feature_ablation", features=300, target=1, batch_size=7)
    torch.testing.assert_close(few.tensor, found.tensor, atol=1e-13, rtol=0)
