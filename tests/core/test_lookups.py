"""`Tracker`: positions of token ids through every call in its lists, and into what a model makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo.core import lookups
from enodo.core.lookups import Lookup, Tracker
from enodo.core.operations import _SAME
from enodo.core.watch import Watch

IDS = torch.arange(24).view(4, 6) * 3 + 5  # every entry tells where it was: (id - 5) / 3
START = (IDS - 5) // 3

# For each call that moves entries: what it does to a (4, 6) tensor of ids.
MOVES: dict[str, Callable[[Tensor], Tensor | tuple[Tensor, ...]]] = {
    "view": lambda t: t.view(6, 4),
    "reshape": lambda t: torch.reshape(t, (2, 12)),
    "flatten": lambda t: t.flatten(),
    "ravel": lambda t: t.ravel(),
    "unflatten": lambda t: t.unflatten(1, (2, 3)),
    "squeeze": lambda t: t[None].squeeze(0),
    "unsqueeze": lambda t: t.unsqueeze(1),
    "transpose": lambda t: t.transpose(0, 1),
    "permute": lambda t: t.permute(1, 0),
    "t": lambda t: t.t(),
    "T": lambda t: t.T,
    "mT": lambda t: t.mT,
    "movedim": lambda t: t.movedim(0, 1),
    "moveaxis": lambda t: torch.moveaxis(t, 0, 1),
    "swapaxes": lambda t: t.swapaxes(0, 1),
    "swapdims": lambda t: t.swapdims(0, 1),
    "contiguous": lambda t: t.T.contiguous(),
    "clone": lambda t: t.clone(),
    "detach": lambda t: t.detach(),
    "expand": lambda t: t[:, None].expand(4, 2, 6),
    "expand_as": lambda t: t[:1].expand_as(t),
    "broadcast_to": lambda t: torch.broadcast_to(t, (2, 4, 6)),
    "repeat": lambda t: t.repeat(2, 1),
    "repeat_interleave": lambda t: t.repeat_interleave(2, dim=1),
    "tile": lambda t: t.tile(1, 2),
    "getitem": lambda t: t[1:3, [4, 0]],
    "index": lambda t: torch.ops.aten.index.Tensor(t, [None, torch.tensor([4, 0])]),
    "slice": lambda t: torch.ops.aten.slice.Tensor(t, 1, 2, 5),
    "alias": lambda t: torch.ops.aten.alias.default(t),
    "index_select": lambda t: t.index_select(1, torch.tensor([5, 0])),
    "select": lambda t: t.select(1, 2),
    "narrow": lambda t: t.narrow(1, 2, 3),
    "split": lambda t: t.split([2, 4], dim=1),
    "tensor_split": lambda t: t.tensor_split(4, dim=1),
    "chunk": lambda t: torch.chunk(t, 3, dim=1),
    "unbind": lambda t: t.unbind(1),
    "flip": lambda t: t.flip(0),
    "roll": lambda t: t.roll(2, 1),
    "cat": lambda t: torch.cat((t, t[:, :2]), 1),
    "concat": lambda t: torch.concat([t, t], dim=0),
    "concatenate": lambda t: torch.concatenate([t, t], dim=0),
    "stack": lambda t: torch.stack([t, t], 1),
    "hstack": lambda t: torch.hstack([t, t]),
    "vstack": lambda t: torch.vstack([t, t]),
    "gather": lambda t: t.gather(1, torch.tensor([[5, 0, 0]] * 4)),
    "take_along_dim": lambda t: t.take_along_dim(torch.tensor([[5, 0, 0]] * 4), dim=1),
    "view_as": lambda t: t.view_as(torch.zeros(6, 4)),
    "reshape_as": lambda t: t.reshape_as(torch.zeros(2, 12)),
    "pad": lambda t: F.pad(t, (1, 2), value=2),
    "unfold": lambda t: t.unfold(1, 3, 2),
}
# For each that changes entries where they are.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "to": lambda t: t.to(torch.int32),
    "to_copy": lambda t: torch.ops.aten._to_copy.default(t, dtype=torch.int32),
    "long": lambda t: t.long(),
    "int": lambda t: t.int(),
    "type": lambda t: t.type(torch.int16),
    "short": lambda t: t.short(),
    "add": lambda t: t + torch.arange(6),
    "sub": lambda t: t.sub(1),
    "rsub": lambda t: 200 - t,
    "mul": lambda t: t * 2,
    "remainder": lambda t: t % 7,
    "fmod": lambda t: t.fmod(7),
    "clamp": lambda t: t.clamp(max=20),
    "clip": lambda t: t.clip(0, 20),
    "masked_fill": lambda t: t.masked_fill(t > 20, 0),
    "where": lambda t: torch.where(t > 20, t, 0),
    "floor_divide": lambda t: t.floor_divide(2),
    "cpu": lambda t: t.cpu(),
    "cuda": lambda t: t.cuda() if torch.cuda.is_available() else t,
    "nan_to_num": lambda t: t.nan_to_num(),
    "floordiv": lambda t: t // 2,
    "bitwise_and": lambda t: t.bitwise_and(7),
    "and": lambda t: t & 7,
    "bitwise_or": lambda t: torch.bitwise_or(t, 1),
    "or": lambda t: t | 1,
    "bitwise_xor": lambda t: t.bitwise_xor(3),
    "xor": lambda t: t ^ 3,
}


def followed(change: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> tuple[Tracker, tuple[Tensor, ...]]:
    """What a tracker knows after a call, and what came out."""
    ids = IDS.clone()
    tracker = Tracker(4, [ids], lambda found, vectors: vectors, set())
    with Watch(None, tracker, False):
        out = change(ids)
    return tracker, out if isinstance(out, tuple) else (out,)


def origin(tracker: Tracker, t: Tensor) -> Tensor:
    found = tracker.known[id(t)][1]
    return found.to(torch.long)


def test_no_call_is_left_out():
    assert {_SAME.get(name, name) for name in MOVES} == lookups._MOVES
    assert {_SAME.get(name, name) for name in CHANGES} == lookups._ELEMENTWISE


@pytest.mark.parametrize("name", MOVES)
def test_positions_go_where_the_entries_go(name):
    """The entries themselves say where they were; what the model put in is -1."""
    tracker, out = followed(MOVES[name])
    for t in out:
        wanted = torch.where(t >= 5, (t - 5) // 3, -1)
        assert torch.equal(origin(tracker, t), wanted)


@pytest.mark.parametrize("name", CHANGES)
def test_positions_stay_where_entries_are_changed(name):
    tracker, (out,) = followed(CHANGES[name])
    assert torch.equal(origin(tracker, out), START)


@pytest.mark.parametrize("name", ["add_", "clamp_", "masked_fill_", "mul_", "squeeze_", "unsqueeze_", "t_"])
def test_in_place(name):
    given = {"add_": (1,), "clamp_": (0, 20), "masked_fill_": (IDS > 20, 0), "mul_": (2,), "unsqueeze_": (0,)}
    tracker, (out,) = followed(lambda t: getattr(t.clone(), name)(*given.get(name, ())))
    assert torch.equal(origin(tracker, out), getattr(START.clone(), name)() if name == "t_" else START.view(out.shape))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: torch.cat(tensors=[t, t], dim=1),
        lambda t: torch.flip(input=t, dims=[1]),
        lambda t: torch.gather(input=t, dim=1, index=torch.zeros(4, 2, dtype=torch.long)),
        lambda t: F.pad(input=t, pad=(1, 0), value=2),
    ],
)
def test_keyword_arguments(change):
    tracker, (out,) = followed(change)
    assert torch.equal(origin(tracker, out), torch.where(out >= 5, (out - 5) // 3, -1))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: torch.zeros(4, 100).gather(1, t),
        lambda t: torch.zeros(4, 100).take_along_dim(t, 1),
        lambda t: t > 20,
        lambda t: t.float(),
        lambda t: t.sum(1) / 2,
        lambda t: torch.zeros_like(t),
        lambda t: t / 2,
        lambda t: F.one_hot(t, 100),
    ],
)
def test_what_is_no_move_is_not_followed(change):
    tracker, (out,) = followed(change)
    assert id(out) not in tracker.known


def joined(a, b, mask):
    return torch.cat([a, b], 1), None


def shifted(a, b, mask):
    """A decoder's ids, made of an encoder's."""
    made = a.new_zeros(a.shape)
    made[:, 1:] = a[:, :-1]
    made[:, 0] = 2
    return made, None


def shifted_in_a_view(a, b, mask):
    made = torch.zeros_like(a)
    made[:, 1:].copy_(a[:, :-1])
    return made, None


def scattered(a, b, mask):
    return torch.zeros_like(a).scatter(1, torch.tensor([[2, 0, 1]]).expand(len(a), -1), a), None


def chosen(a, b, mask):
    return torch.where(a > 3, a, b[:, :3]), None


def masked(a, b, mask):
    return mask.clamp(min=1) * a, None


def exchanged(a, b, mask):
    return torch.arange(15, -1, -1)[torch.arange(15, -1, -1)[a]], None


def counted(a, b, mask):
    """Positions are counted in the mask, and are none of its entries."""
    return a, mask.cumsum(1) * mask


@pytest.mark.parametrize("make", [joined, shifted, shifted_in_a_view, scattered, chosen, masked, exchanged, counted])
@pytest.mark.parametrize("width", [3, 4])
def test_ids_are_followed_into_what_the_model_makes_of_them(make, width):
    """Of one-hot vectors the gradient at the token is that at its lookup, wherever it went, and at no other."""
    a, b = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.arange(7, 7 + 2 * width).view(2, width)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    weights = torch.randn(16, generator=torch.Generator().manual_seed(0))
    table, places = nn.Embedding(16, 1), nn.Embedding(16, 1)

    def model(a, b, mask):
        ids, positions = make(a, b, mask)
        scored = weights[ids.detach().numpy()] * table(ids)[..., 0]  # each token has a gradient of its own
        return scored.sum(1) + (0 if positions is None else places(positions).sum((1, 2)))

    found = enodo.explain(model, {"a": a, "b": b, "mask": mask}, "gradient").values
    looked_up = make(a, b, mask)[0]
    for name, t in (("a", a), ("b", b)):
        wanted = torch.where(torch.isin(t, looked_up), weights[t], 0)
        assert torch.equal(found[name], wanted)
    assert not found["mask"].any()


def test_a_lookup_puts_rows_first_and_back():
    for shape, dim in (((4, 6), 0), ((6, 4), 1)):
        positions = torch.arange(6).expand(4, 6)
        lookup = Lookup(frozenset({0}), positions, dim, False)
        vectors = torch.randn(*shape, 3)
        assert lookup.rows_first(vectors).shape == (4, 6, 3)
        assert torch.equal(lookup.restore(lookup.rows_first(vectors)), vectors)
    flat = Lookup(frozenset({0}), torch.arange(6).expand(4, 6), 0, True)
    vectors = torch.randn(24, 3)
    assert torch.equal(flat.rows_first(vectors), vectors.view(4, 6, 3))
    assert torch.equal(flat.restore(flat.rows_first(vectors)), vectors)


def test_tokens_met_twice_add_up_and_constants_count_for_nothing():
    lookup = Lookup(frozenset({0}), torch.tensor([[0, 0, -1, 2]]), 0, False)
    got = lookup.per_token(torch.tensor([[[1.0, 2], [3, 4], [5, 6], [7, 8]]]), 0, 3)
    assert torch.equal(got, torch.tensor([[10.0, 0, 15]]))
    several = lookup.per_token(torch.ones(2, 1, 4, 5), 1, 3)
    assert torch.equal(several, torch.tensor([[10.0, 0, 5]]).expand(2, 1, 3))
