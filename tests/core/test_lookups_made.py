"""Ids that a model makes of several, and ids that go another way than to their embedding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import enodo


def hashed(a, b):
    return (a[:, 1:] * 31 + a[:, :-1]) % 16


def crossed(a, b):
    return (a + b[:, :3] * 7) % 16


def hashed_and_kept(a, b):
    """Of the first token alone, of the first two, of all three."""
    two = a[:, :2] + 3 * a[:, :1]
    return torch.cat([two, two[:, 1:] + 5 * a[:, 2:]], 1) % 16


def filled(a, b):
    """A mask says which token counts, and what stands in its place is no token."""
    mask = torch.tensor([[1, 1, 0]]) * (a > 0).long()
    return a * mask + 2 * (1 - mask)


@pytest.mark.parametrize(
    ("make", "makers"),
    [
        (hashed, [["a0", "a1"], ["a1", "a2"]]),
        (crossed, [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]),
        (hashed_and_kept, [["a0"], ["a0", "a1"], ["a0", "a1", "a2"]]),
        (filled, [["a0"], ["a1"], ["a2"]]),
    ],
)
def test_the_vector_of_several_ids_is_of_all_of_them_alike(make, makers):
    a, b = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[7, 9, 8, 3], [8, 10, 2, 4]])
    table = nn.Embedding(16, 2).double()

    def model(a, b):
        return (table(make(a, b)) ** 2).sum((1, 2)) + 0 * table(b).sum((1, 2))

    found = enodo.explain(model, {"a": a, "b": b}, "input_x_gradient").values
    wanted = {"a": torch.zeros(2, 3).double(), "b": torch.zeros(2, 4).double()}
    for k, of in enumerate(makers):
        for name in of:
            wanted[name[0]][:, int(name[1])] += 2 * (table(make(a, b))[:, k] ** 2).sum(1).detach() / len(of)
    for name in found:
        torch.testing.assert_close(found[name], wanted[name])
    whole = enodo.explain(model, {"a": a, "b": b}, batch_size=1)
    assert whole.delta.abs().max() < 1e-6 * whole.scores.abs().max()


@pytest.mark.parametrize("make", [lambda a: a.cumsum(1) % 16, lambda a: (a @ torch.ones(3, 2).long()) % 16])
def test_what_is_made_of_many_ids_is_refused_where_it_is_looked_up(make):
    table, ids = nn.Embedding(16, 2), torch.tensor([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(enodo.BadArgument, match=r"ids that the model makes of many.*wrt=<name of the layer>"):
        enodo.explain(lambda a: table(a).sum((1, 2)) + table(make(a)).sum((1, 2)), ids)
    picked = enodo.explain(lambda a: table(a)[0][a.sum(1) % 3].sum(1) + table(a).sum((1, 2)), ids)
    assert "past its embedding (getitem)" in picked.notes[0]
    counted = enodo.explain(lambda a: (table(a) * make(a).sum(1)[:, None, None]).sum((1, 2)), ids)
    assert not counted.notes  # a number of many ids that is not looked up is none of a token


USES = {
    "one_hot": lambda a, w: F.one_hot(a, 16).to(w.dtype) @ w,
    "div": lambda a, w: a[..., None] / 2 + w[0],
    "to": lambda a, w: a[..., None].to(w.dtype) * w[0],
    "sort": lambda a, w: w[a.sort(1)[0]],
    "take": lambda a, w: w[:, 0].take(a)[..., None],
    "getitem": lambda a, w: w[a, 1][..., None],
    "gather": lambda a, w: w.T.expand(len(a), -1, -1).gather(2, a[:, None].expand(-1, 2, -1)).mT,
}


@pytest.mark.parametrize("name", USES)
def test_ids_that_go_past_their_embedding_are_told(name):
    table, ids = nn.Embedding(16, 2), torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = enodo.explain(lambda a: (table(a) + USES[name](a, table.weight)).sum((1, 2)), ids)
    assert found.notes == [f"inputs is also used past its embedding ({name}): what passes there is not explained."]
    assert not enodo.explain(lambda a: (table(a) * (a > 2)[..., None]).sum((1, 2)), ids).notes
