"""Targets: every spelling selects what its row of the table says, on outputs of every rank, also for tiled rows."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import enodo
from enodo import BadArgument, BadType, Each
from enodo.core import targets

B = 4
SCALAR, ROW, CLASSES, DENSE = (
    torch.randn(s, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for s in ((B,), (B, 1), (B, 3), (B, 3, 5, 2))
)
REGION = torch.zeros(3, 5, 2, dtype=torch.bool)
REGION[1, 2:, 0] = True
EACH_ITS_OWN = torch.stack([REGION, ~REGION, REGION, torch.ones_like(REGION)])

TABLE: dict[str, tuple[Tensor, Any, Tensor]] = {
    "None, (B,)": (SCALAR, None, SCALAR),
    "None, (B, 1)": (ROW, None, ROW[:, 0]),
    "int": (CLASSES, 1, CLASSES[:, 1]),
    "negative int": (CLASSES, -1, CLASSES[:, 2]),
    "numpy int": (CLASSES, np.int64(2), CLASSES[:, 2]),
    "int of (B, 1)": (ROW, 0, ROW[:, 0]),
    "tensor of one": (CLASSES, torch.tensor(2), CLASSES[:, 2]),
    "tensor (1,)": (CLASSES, torch.tensor([2]), CLASSES[:, 2]),
    "list of one": (CLASSES, [2], CLASSES[:, 2]),
    "tuple of one": (CLASSES, (1,), CLASSES[:, 1]),
    "tuple": (DENSE, (1, 4, 0), DENSE[:, 1, 4, 0]),
    "box": (DENSE, (1, slice(0, 3), slice(None)), DENSE[:, 1, 0:3].sum((1, 2))),
    "box of one axis": (CLASSES, (slice(0, 2),), CLASSES[:, :2].sum(1)),
    "box that leaves axes": (DENSE, (slice(1, 3),), DENSE[:, 1:3].sum((1, 2, 3))),
    "list": (CLASSES, [0, 2, 1, 0], CLASSES[range(B), [0, 2, 1, 0]]),
    "list with negatives": (CLASSES, [0, -1, 1, -3], CLASSES[range(B), [0, 2, 1, 0]]),
    "tensor": (CLASSES, torch.tensor([0, 2, 1, 0]), CLASSES[range(B), [0, 2, 1, 0]]),
    "int32 tensor": (CLASSES, torch.tensor([0, 2, 1, 0], dtype=torch.int32), CLASSES[range(B), [0, 2, 1, 0]]),
    "numpy array": (CLASSES, np.array([0, 2, 1, 0]), CLASSES[range(B), [0, 2, 1, 0]]),
    "list of tuples": (
        DENSE,
        [(0, 1, 0), (1, 0, 1), (2, 4, 0), (0, 0, 0)],
        torch.stack([DENSE[0, 0, 1, 0], DENSE[1, 1, 0, 1], DENSE[2, 2, 4, 0], DENSE[3, 0, 0, 0]]),
    ),
    "tensor (B, d)": (
        DENSE,
        torch.tensor([[0, 1, 0], [1, 0, 1], [2, 4, 0], [0, 0, 0]]),
        torch.stack([DENSE[0, 0, 1, 0], DENSE[1, 1, 0, 1], DENSE[2, 2, 4, 0], DENSE[3, 0, 0, 0]]),
    ),
    "mask of a row": (DENSE, REGION, DENSE[:, 1, 2:, 0].sum(1)),
    "mask of all rows": (DENSE, EACH_ITS_OWN, (DENSE * EACH_ITS_OWN).sum((1, 2, 3))),
    "mask that broadcasts": (
        DENSE,
        torch.tensor([True, False, True])[:, None, None],
        DENSE[:, ::2].sum((1, 2, 3)),
    ),
    "predicted": (CLASSES, "predicted", CLASSES.amax(1)),
    "predicted of one score": (ROW, "predicted", ROW[:, 0]),
    "callable": (DENSE, lambda y: y[:, 0].amax((1, 2)), DENSE[:, 0].amax((1, 2))),
    "callable (B, 1)": (CLASSES, lambda y: y[:, :1], CLASSES[:, 0]),
    "callable (B, T)": (CLASSES, lambda y: y[:, 1:], CLASSES[:, 1:].T),
    "all": (CLASSES, "all", CLASSES.T),
    "all of (B,)": (SCALAR, "all", SCALAR[None]),
    "each": (
        CLASSES,
        Each([0, [2, 2, 1, 0], lambda y: y.sum(1), "all"]),
        torch.cat(
            [torch.stack([CLASSES[:, 0], CLASSES[range(B), [2, 2, 1, 0]], CLASSES.sum(1)]), CLASSES.T],
        ),
    ),
}


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("case", TABLE)
def test_the_table(case, tiles):
    """Also where the rows are repeated, point by point: the target of a row goes along."""
    output, target, wanted = TABLE[case]
    output = output.repeat(tiles, *[1] * (output.ndim - 1))
    output[-B:] *= 2 if tiles > 1 else 1
    got = targets.selector(targets.prepare(target, B), B)(output, tiles)
    factor = torch.ones(tiles * B, dtype=torch.float64)
    factor[-B:] *= 2 if tiles > 1 else 1
    torch.testing.assert_close(got, wanted.repeat(*[1] * (wanted.ndim - 1), tiles) * factor)


@pytest.mark.parametrize("case", TABLE)
def test_some_of_the_rows(case):
    output, target, wanted = TABLE[case]
    index = torch.tensor([3, 1])
    got = targets.selector(targets.take(targets.prepare(target, B), index), 2)(output[index])
    torch.testing.assert_close(got, wanted[..., index])


@pytest.mark.parametrize("case", TABLE)
def test_one_row_at_a_time_through_the_front_door(case):
    """An identity model: the scores are the selection, whatever the size of passes."""
    output, target, wanted = TABLE[case]
    for batch_size in (1, 3, "auto"):
        got = enodo.explain(lambda x: x * 1, output, "gradient", target=target, batch_size=batch_size)
        torch.testing.assert_close(got.scores, wanted)
        assert got.shape == (*wanted.shape[:-1], *output.shape)


BAD: dict[str, tuple[Tensor, Any, type[BadArgument]]] = {
    "none for classes": (CLASSES, None, BadArgument),
    "int for scores": (SCALAR, 0, BadArgument),
    "too large": (CLASSES, 3, BadArgument),
    "too small": (CLASSES, -4, BadArgument),
    "too deep": (CLASSES, (0, 0), BadArgument),
    "not deep enough": (DENSE, (0, 0), BadArgument),
    "int for dense": (DENSE, 1, BadArgument),
    "too few rows": (CLASSES, [0, 1], BadArgument),
    "a row too large": (CLASSES, [0, 1, 2, 3], BadArgument),
    "tuples too large": (DENSE, [(0, 0, 0), (0, 0, 0), (0, 5, 0), (0, 0, 0)], BadArgument),
    "tuples not deep enough": (DENSE, [(0, 0)] * B, BadArgument),
    "ragged tuples": (DENSE, [(0, 0, 0), (0, 0)], BadArgument),
    "floats": (CLASSES, torch.tensor([0.0, 1, 2, 0]), BadType),
    "float": (CLASSES, 1.0, BadType),
    "bool": (CLASSES, True, BadType),
    "bool of torch": (CLASSES, torch.tensor(True), BadType),
    "bools among ints": (CLASSES, [0, True, 1, 2], BadType),
    "more than 64 bits": (CLASSES, 10**30, BadArgument),
    "none in a list": (CLASSES, [0, None, 1, 2], BadType),
    "word": (CLASSES, "best", BadArgument),
    "mask of another shape": (DENSE, torch.ones(3, 4, 2, dtype=torch.bool), BadArgument),
    "all of dense": (DENSE, "all", BadArgument),
    "predicted of dense": (DENSE, "predicted", BadArgument),
    "callable of nothing": (CLASSES, lambda y: None, BadType),
    "callable of another shape": (CLASSES, lambda y: y.sum(), BadArgument),
    "callable of three dimensions": (DENSE, lambda y: y[:, :, :, 0], BadArgument),
    "dict": (CLASSES, {"class": 1}, BadType),
    "no targets": (CLASSES, Each([]), BadArgument),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_selected_is_refused(case):
    output, target, kind = BAD[case]
    with pytest.raises(kind) as caught:
        enodo.explain(lambda x: x * 1, output, "gradient", target=target)
    assert caught.value.argument == "target"
    assert "expected" in str(caught.value)


def test_predicted_is_settled_at_the_inputs_and_kept():
    """The class is that of the inputs, also where another is larger on the way: it is recorded, one a row."""
    x = torch.tensor([[2.0, 1.0], [-1.0, 3.0]])

    def model(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], x[:, 1] + 1.5 * (1 - x.norm(dim=1) / x.detach().norm(dim=1).clamp(min=9))], 1)

    got = enodo.explain(model, x, target="predicted")
    wanted = model(x).argmax(1).tolist()
    assert got.target == wanted
    assert torch.equal(got.tensor, enodo.explain(model, x, target=wanted).tensor)


@given(st.lists(st.integers(-3, 2), min_size=B, max_size=B))
def test_a_list_and_its_tensor_are_one(index):
    one, other = (
        enodo.explain(lambda x: x * 1, CLASSES, "gradient", target=t).tensor for t in (index, torch.tensor(index))
    )
    assert torch.equal(one, other)


class TestNestedOutputs:
    def test_the_only_tensor_and_the_logits(self):
        x = CLASSES
        for output in (
            lambda x: (x, None, "text"),
            lambda x: {"y": x, "ids": x.long()},
            lambda x: [[x]],
            lambda x: OrderedDict(hidden=x * 2, logits=x),
        ):
            got = enodo.explain(output, x, "gradient", target=1)
            assert torch.equal(got.tensor, enodo.explain(lambda x: x * 1, x, "gradient", target=1).tensor)

    def test_several_tensors_are_refused_by_name(self):
        with pytest.raises(BadArgument, match=r"output\['a'\].*output\['b'\].*callable"):
            enodo.explain(lambda x: {"a": x, "b": x}, CLASSES, "gradient", target=1)

    def test_a_callable_is_given_the_raw_output(self):
        got = enodo.explain(lambda x: {"a": x, "b": 2 * x}, CLASSES, "gradient", target=lambda y: y["b"][:, 0])
        assert torch.equal(got.tensor[:, 0], torch.full((B,), 2.0, dtype=torch.float64))

    def test_an_output_without_scores_is_refused(self):
        for output in (lambda x: None, lambda x: {"text": "hello"}, lambda x: (x.long(),)):
            with pytest.raises(BadArgument, match=r"target.* without any"):
                enodo.explain(output, CLASSES, "gradient", target=1)

    def test_whole_numbers_have_no_gradient(self):
        with pytest.raises(enodo.NoPath, match="no gradient reaches the score"):
            enodo.explain(lambda x: x.long(), CLASSES, "gradient", target=1)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (1, [1]),
        ((0, 1), [0, 1]),
        ([2, 0, 1, 1], [2, 0, 1, 1]),
        ("all", "all"),
        (Each([0, "all"]), [[0], "all"]),
        (None, None),
    ],
)
def test_the_result_says_what_was_asked_in_plain_terms(target, said):
    output = SCALAR if target is None else DENSE[..., 0] if target == (0, 1) else CLASSES
    got = enodo.explain(lambda x: x * 1, output, "gradient", target=target)
    assert got.target == said
