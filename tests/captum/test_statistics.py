"""Running statistics: against torch over the stacked stream, and against the installed Captum."""

from __future__ import annotations

import captum.attr as theirs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import enodo.captum.attr as ours
from enodo.captum.attr._utils.stat import Stat

NAMES = ["Mean", "Count", "MSE", "Var", "StdDev", "Min", "Max", "Sum"]


def stream(n: int, *shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(n)]


def same(a: object, b: object) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_each_statistic_is_captums(name: str, n: int) -> None:
    summaries = []
    for attr in (ours, theirs):
        summarizer = attr.Summarizer([getattr(attr, name)()])
        for x in stream(n, 3, 2):
            summarizer.update(x)
        summaries.append(summarizer.summary)
    same(*summaries)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 12), order=st.integers(0, 1), shift=st.floats(-1e4, 1e4))
def test_moments_are_those_of_the_stacked_stream(n: int, order: int, shift: float) -> None:
    xs = [x + shift for x in stream(n, 4, dtype=torch.float64)]
    summarizer = ours.Summarizer([ours.Mean(), ours.Var(order=order), ours.StdDev(order=order), ours.MSE(), ours.Sum()])
    for x in xs:
        summarizer.update(x)
    stacked = torch.stack(xs)
    mean, var, std, mse, total = summarizer.summary.values()
    torch.testing.assert_close(mean, stacked.mean(0))
    torch.testing.assert_close(var, stacked.var(0, correction=order))
    torch.testing.assert_close(std, stacked.std(0, correction=order))
    torch.testing.assert_close(mse, (stacked - stacked.mean(0)).square().sum(0))
    torch.testing.assert_close(total, stacked.sum(0))


def test_float32_variance_far_from_zero_keeps_its_digits_and_dtype() -> None:
    xs = [torch.tensor([10000.0 + i]) for i in (1, 2, 3, 4)]
    summarizer = ours.Summarizer([ours.Var()])
    for x in xs:
        summarizer.update(x)
    assert summarizer.summary == {"variance": torch.tensor([1.25])}
    assert summarizer.summary["variance"].dtype == torch.float32


def test_common_stats_have_captums_names() -> None:
    assert [s.name for s in ours.CommonStats()] == [s.name for s in theirs.CommonStats()]
    assert [ours.Var(order=i).name for i in (0, 1, 2)] == [theirs.Var(order=i).name for i in (0, 1, 2)]
    assert [ours.StdDev(order=i).name for i in (0, 1)] == [theirs.StdDev(order=i).name for i in (0, 1)]


def test_statistics_are_equal_by_kind_and_parameters() -> None:
    assert ours.Var(order=1) == ours.Var(order=1) != ours.Var(order=0)
    assert ours.Mean("a") == ours.Mean("b") != ours.Count()
    assert len({ours.StdDev(order=1), ours.StdDev(order=1), ours.StdDev(order=2)}) == 2


def test_equal_statistics_under_two_names_are_both_shown() -> None:
    summarizer = ours.Summarizer([ours.Mean("a"), ours.Mean("b"), ours.Var(), ours.Var(name="v")])
    for x in (1.0, 2.0, 6.0):
        summarizer.update(x)
    summary = {k: float(v) for k, v in summarizer.summary.items()}
    assert summary == pytest.approx({"a": 3.0, "b": 3.0, "variance": 14 / 3, "v": 14 / 3})


def test_tuples_are_separate_streams_and_numbers_are_tensors() -> None:
    summaries = []
    for attr in (ours, theirs):
        summarizer = attr.Summarizer(attr.CommonStats())
        assert summarizer.summary is None
        for i in range(3):
            summarizer.update((torch.arange(2.0) * i, float(i)))
        summaries.append(summarizer.summary)
    same(*summaries)


def test_one_tensor_then_a_tuple_is_refused() -> None:
    summarizer = ours.Summarizer([ours.Mean()])
    summarizer.update(torch.ones(2))
    with pytest.raises(ValueError, match="a single tensor, as in the first update"):
        summarizer.update((torch.ones(2), torch.ones(2)))


def test_a_moment_outside_a_summarizer_says_where_it_belongs() -> None:
    with pytest.raises(ValueError, match=r"Summarizer\(\[Mean\(\)\]\)"):
        ours.Mean().update(torch.ones(2))
    count = ours.Count()
    count.update(torch.ones(2))
    assert count.get() == 1


def test_a_single_tensor_summarizer_shows_the_chosen_and_keeps_the_others() -> None:
    summaries = []
    for attr in (ours, theirs):
        summarizer = attr.SummarizerSingleTensor([attr.Count(), attr.Mean(), attr.Max()], [0, 2])
        for x in stream(3, 2):
            summarizer.update(x)
        assert summarizer.get(attr.Min()) is None
        summaries.append((summarizer.summary, summarizer.get(attr.Mean()).get()))
    same(*summaries)


def test_a_statistic_of_ones_own_may_lean_on_others() -> None:
    class Range(Stat):
        def init(self) -> None:
            self.low, self.high = self._get_stat(ours.Min()), self._get_stat(ours.Max())

        def update(self, x: torch.Tensor) -> None:
            self.newest = self.high.get()  # updated before this one

        def get(self) -> torch.Tensor | None:
            return self.newest - self.low.get()

    summarizer = ours.Summarizer([Range()])
    for x in (1.0, 5.0, 3.0):
        summarizer.update(x)
    assert summarizer.summary == {"range": torch.tensor(4.0)}


@pytest.mark.parametrize(
    "labels", [7, (1, 2), [0, 1, 0], [(0, 1), (0, 2), (0, 1)], None], ids=["int", "tuple", "list", "tuples", "none"]
)
@pytest.mark.parametrize("several", [False, True])
def test_class_summaries_are_captums(labels: object, several: bool) -> None:
    x = torch.arange(6.0).view(3, 2)
    summaries = []
    for attr in (ours, theirs):
        summarizer = attr.ClassSummarizer([attr.Mean(), attr.Count()])
        if not (labels is None and not several):  # Captum fails on a single tensor without labels after one with
            summarizer.update((x, x[:, :1] * 2) if several else x, [2, 2, 3])
        if labels is not None:
            summarizer.update((x, x[:, :1]) if several else x, labels)
        summaries.append((summarizer.summary, summarizer.class_summaries))
    same(*summaries)


def test_labels_in_a_tensor_are_classes_not_objects() -> None:
    x = torch.arange(6.0).view(3, 2)
    summarizer = ours.ClassSummarizer([ours.Count()])
    summarizer.update(x, torch.tensor([1, 1, 2]))
    summarizer.update(x, None)
    assert {k: s[0]["count"] for k, s in summarizer.class_summaries.items()} == {1: 2, 2: 1}
    reference = theirs.ClassSummarizer([theirs.Count()])
    reference.update(x, torch.tensor([1, 1, 2]))
    assert len(reference.class_summaries) == 3  # one "class" a row


def test_labels_of_another_number_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="labels: got 2 labels; expected one label, or one for each of the 3 rows"):
        ours.ClassSummarizer([ours.Mean()]).update(torch.ones(3, 2), [0, 1])


def test_stats_must_be_statistics() -> None:
    with pytest.raises(TypeError, match="instances of Stat"):
        ours.Summarizer([ours.Mean])
