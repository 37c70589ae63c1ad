"""Inputs and baselines as users write them: made tensors with rows, or refused by name."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import enodo
from enodo import BadArgument
from enodo.core.given import baseline_like, count_rows, tensors
from tests.core.trees import Batch, Encoding, Pair

X = torch.arange(12.0).view(3, 4)


def product(x: Tensor) -> Tensor:
    return x[:, 0] * x[:, 1] + x[:, 2]


def ig(inputs: Any, baseline: Any = None, model: Any = product, **options: Any) -> Any:
    return enodo.explain(model, inputs, steps=2, baseline=baseline, **options).values


class TestInputs:
    @pytest.mark.parametrize(
        "given",
        [X.numpy(), X.tolist(), X.numpy().astype(np.float32), [r.numpy() for r in X], [list(r) for r in X.numpy()]],
    )
    def test_arrays_and_lists_are_tensors(self, given):
        got = tensors(given, "inputs")
        if isinstance(given, list) and isinstance(given[0], np.ndarray):
            assert all(isinstance(t, Tensor) for t in got)  # a list of arrays is several inputs
        else:
            assert torch.equal(got, X)
            assert torch.equal(ig(given), ig(X))

    def test_arrays_as_other_libraries_leave_them(self):
        """A table of pandas, a picture turned from BGR to RGB, a read-only view: no error, and no warning."""
        table, turned, fixed = pd.DataFrame(X.numpy()), X.numpy()[:, ::-1], np.broadcast_to(X.numpy(), (3, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = [tensors(array, "inputs") for array in (table, turned, fixed)]
        assert [t.tolist() for t in got] == [X.tolist(), X.flip(1).tolist(), X.tolist()]

    def test_numbers_of_numpy_are_numbers(self):
        got = enodo.explain(product, X, steps=np.int64(2), batch_size=np.int32(2), seed=np.int64(3))
        assert torch.equal(got.tensor, ig(X))
        assert type(got.options["steps"]) is int

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="errors carry notes from Python 3.11 on")
    @pytest.mark.parametrize("width", [4, 200])
    def test_an_error_of_the_model_says_what_was_asked(self, width):
        """The shapes that the model complains of are those of a pass."""
        with pytest.raises(RuntimeError, match="shapes") as caught:
            enodo.explain(lambda x: x @ torch.ones(width, 2), torch.ones(3, width + 1), target=0)
        assert f"float32 tensor of shape (3, {width + 1}): rows first" in caught.value.__notes__[0]

    def test_lists_that_are_no_table_are_containers(self):
        words = ["a", None]
        assert tensors(words, "inputs") == words
        nested = tensors([[X], {"t": (X,)}], "inputs")
        assert nested[0][0] is X
        assert nested[1]["t"][0] is X

    def test_dtypes_stay_where_they_are_said(self):
        assert tensors(np.zeros(2), "inputs").dtype == torch.float64
        assert tensors([0.5, 1.0], "inputs").dtype == torch.float32
        assert tensors([1, 2], "inputs").dtype == torch.int64

    @pytest.mark.parametrize("given", [[[1, 2], [3]], ["a", "b"], [None], np.array(["a"]), [object()]])
    def test_what_is_no_number_is_refused(self, given):
        with pytest.raises(BadArgument) as caught:
            enodo.explain(product, given)
        assert caught.value.argument == "inputs"

    @pytest.mark.parametrize("given", [None, (), {}, "text", 5, {"a": None}, (1, 2)])
    def test_nothing_to_explain_is_refused(self, given):
        with pytest.raises(BadArgument, match="tensor") as caught:
            enodo.explain(product, given)
        assert caught.value.argument == "inputs"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (torch.zeros(0, 4), "at least one row"),
            (torch.tensor(1.0), r"x\[None\]"),
            ((X, X[:2]), r"inputs\[0\] with 3 and inputs\[1\] with 2"),
            ({"a": X, "b": X[:1]}, r"inputs\['a'\] with 3 and inputs\['b'\] with 1"),
        ],
    )
    def test_rows_that_cannot_be(self, given, said):
        with pytest.raises(BadArgument, match=said) as caught:
            enodo.explain(lambda *a, **k: X.sum(1), given)
        assert caught.value.argument == "inputs"

    @given(st.integers(1, 5), st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=4))
    def test_rows_are_the_first_dimension_of_all(self, rows, rest):
        assert count_rows(tuple(torch.zeros(rows, *shape) for shape in rest)) == rows
        assert count_rows({str(i): torch.zeros(rows, *shape) for i, shape in enumerate(rest)}) == rows

    @pytest.mark.parametrize("target", [None, "all"])
    @pytest.mark.parametrize("batch_size", ["auto", 1])
    def test_a_lone_number_beside_the_rows_is_passed_on_and_explained_as_nothing(self, batch_size, target):
        got = ig(
            {"x": X, "scale": torch.tensor(2.0)},
            model=lambda x, scale: product(x) * scale,
            batch_size=batch_size,
            target=target,
        )
        torch.testing.assert_close(got["x"], 2 * ig(X, target=target))
        assert not got["scale"].any()


class TestStructures:
    """A tensor is a 1-tuple is a 1-dict; the answer mirrors what was given."""

    @given(st.integers(1, 3), st.integers(3, 5), st.sampled_from([torch.float32, torch.float64]))
    def test_one_tensor_in_every_container(self, rows, width, dtype):
        x = torch.linspace(-1, 1, rows * width, dtype=dtype).view(rows, width)
        plain = ig(x)
        assert plain.dtype == dtype
        assert plain.shape == x.shape
        assert torch.equal(ig((x,))[0], plain)
        assert torch.equal(ig([x])[0], plain)
        assert torch.equal(ig({"x": x})["x"], plain)
        assert torch.equal(ig(Encoding(x=x))["x"], plain)
        deep = ig((Batch({"k": [x]}),), model=lambda b: product(b.ids["k"][0]))
        assert torch.equal(deep[0].ids["k"][0], plain)
        assert deep[0].mask is None

    def test_containers_come_back_as_they_came(self):
        got = ig(Encoding(x=X))
        assert type(got) is Encoding
        pair = ig(Pair(X, 2.0), model=lambda p: product(p.left) * p.right)
        assert type(pair) is Pair
        assert torch.equal(pair.left, 2 * ig(X))
        assert pair.right is None
        batch = ig(Batch(X), model=lambda b: product(b.ids))
        assert type(batch) is Batch

    def test_further_arguments_go_along_with_the_rows(self):
        """A tensor with one entry a row is cut and repeated with them; others are passed whole."""
        seen: list[Any] = []
        table, scale, words = torch.ones(4, 4), torch.tensor([1.0, 2.0, 3.0]), ["a", "b", "c"]

        def model(x: Tensor, scale: Tensor, *, table: Tensor, words: list[str], on: bool) -> Tensor:
            seen.append((torch.equal(table, kept), words is kept_words, on, len(scale) == len(x)))
            return product(x) * scale

        kept, kept_words = table, words
        kwargs = {"table": table, "words": words, "on": True}
        for batch_size in (1, 4, "auto"):
            got = ig(X, model=model, args=(scale,), kwargs=kwargs, batch_size=batch_size)
            torch.testing.assert_close(got, ig(X) * scale[:, None])
        assert all(flag for flags in seen for flag in flags)


class TestBaselines:
    """The product x y + z from (a, b, c): (x - a)(y + b)/2, (y - b)(x + a)/2, z - c."""

    def wanted(self, x0: Tensor) -> Tensor:
        (x, y, z, _), (a, b, c, _) = X.unbind(1), x0.expand(3, 4).unbind(1)
        return torch.stack([(x - a) * (y + b) / 2, (y - b) * (x + a) / 2, z - c, torch.zeros(3)], 1)

    @pytest.mark.parametrize(
        "spelling",
        [
            2,
            2.0,
            torch.tensor(2.0),
            torch.full((4,), 2.0),
            torch.full((1, 4), 2.0),
            torch.full((3, 4), 2.0),
            torch.full((3, 1), 2.0),
            np.full((3, 4), 2.0),
            [2.0, 2.0, 2.0, 2.0],
            [2, 2, 2, 2],
            torch.full((4,), 2),
            torch.full((3, 4), 2.0, dtype=torch.float64),
            lambda: 2.0,
            lambda x: torch.full_like(x, 2.0),
            lambda x, shade=2.0: shade,
        ],
    )
    def test_every_spelling_of_two(self, spelling):
        torch.testing.assert_close(ig(X, spelling), self.wanted(torch.full((4,), 2.0)))

    def test_none_is_zero(self):
        torch.testing.assert_close(ig(X), self.wanted(torch.zeros(4)))
        assert torch.equal(ig(X, 0), ig(X))

    def test_each_row_its_own(self):
        base = torch.rand(3, 4)
        torch.testing.assert_close(ig(X, base), self.wanted(base))
        for batch_size in (1, 2, 5):
            torch.testing.assert_close(ig(X, base, batch_size=batch_size), self.wanted(base))

    def test_structures_and_what_they_leave_out(self):
        def model(a: Tensor, b: Tensor) -> Tensor:
            return a.sum(1) * b.sum(1)

        a, b = X[:, :2], X[:, 2:]
        for spelling in ({"a": None, "b": None}, None, 0, {"a": 0, "b": torch.zeros(2)}):
            got = ig({"a": a, "b": b}, spelling, model)
            torch.testing.assert_close(got["a"], a * b.sum(1, keepdim=True) / 2)
        kept = ig({"a": a, "b": b}, {"a": 0}, model)  # b stays as it is on the whole path
        torch.testing.assert_close(kept["a"], a * b.sum(1, keepdim=True))
        assert not kept["b"].any()
        several = ig((a, b), (1.0, None), model)
        half = (a - 1) * b.sum(1, keepdim=True) / 2
        torch.testing.assert_close(several[0], half)

    @pytest.mark.parametrize(
        "bad",
        [
            torch.zeros(2, 4),
            torch.zeros(3),
            torch.zeros(3, 4, 1),
            torch.zeros(3, 4, dtype=torch.bool),
            torch.zeros(0, 4),
            "mean",
            True,
            {"x": 0},
            (0, 0),
            object(),
            lambda: "zero",
        ],
    )
    def test_what_does_not_fit_is_refused(self, bad):
        with pytest.raises(BadArgument) as caught:
            ig(X, bad)
        assert caught.value.argument.startswith("baseline")

    def test_one_tensor_for_several_inputs_is_refused(self):
        with pytest.raises(BadArgument, match="2 tensors"):
            ig((X, X), torch.zeros(3, 4), lambda a, b: product(a) + product(b))

    def test_an_unknown_entry_is_refused_by_name(self):
        with pytest.raises(BadArgument, match="'b'"):
            ig({"x": X}, {"b": 0.0})

    def test_a_background_has_its_own_number_of_rows(self):
        for spelling, rows in ((torch.zeros(7, 4), 7), (torch.zeros(4), 1), (None, 1), (0.5, 1)):
            assert baseline_like(spelling, X, 3, True).shape == (rows, 4)
        both = baseline_like((torch.zeros(7, 4), 0), (X, X), 3, True)
        assert [t.shape for t in both] == [(7, 4), (7, 4)]
        with pytest.raises(BadArgument, match=r"\[5, 7\] rows"):
            baseline_like((torch.zeros(7, 4), torch.zeros(5, 4)), (X, X), 3, True)


HIDDEN = np.ma.masked_array(X.numpy(), mask=X.numpy() > 0.1)
UNREAD: dict[str, tuple[Any, str]] = {
    "masked": (HIDDEN, r"masked values.*x\.filled"),
    "a masked tensor": (torch.masked.masked_tensor(X, X > 0), r"a masked tensor.*to_tensor"),
    "objects": (X.numpy().astype(object), r"np\.asarray\(x, dtype=np\.float32\)"),
    "another byte order": (X.numpy().astype(">f4"), r"np\.asarray\(x, dtype=np\.float32\)"),
    "a column that may lack values": (pd.DataFrame(X.numpy()).astype("Float32"), r"np\.asarray"),
    "objects that lack a value": (np.array([[1, np.nan]] * 3, dtype=object), "Fill in what is missing"),
    "a column that does": (
        pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64"), "b": 1.0}),
        "NAType",
    ),
}


@pytest.mark.parametrize("argument", ["inputs", "baseline"])
@pytest.mark.parametrize("name", UNREAD)
def test_arrays_that_would_lose_their_meaning_are_refused(name: str, argument: str) -> None:
    array, said = UNREAD[name]
    given = {"inputs": array} if argument == "inputs" else {"inputs": X, "baseline": array}
    with pytest.raises(BadArgument, match=said) as met:
        enodo.explain(product, method="integrated_gradients", **given)
    assert met.value.argument == argument


def test_a_masked_array_without_masked_values_is_an_array() -> None:
    assert torch.equal(tensors(np.ma.masked_array(X.numpy(), mask=False), "inputs"), X)


def test_a_complex_baseline_of_real_numbers_is_refused() -> None:
    with pytest.raises(BadArgument, match=r"baseline: got a complex64 tensor.*real numbers"):
        ig(X, X.to(torch.complex64))
