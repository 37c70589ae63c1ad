"""Passes in part give what full passes give where code writes into shared memory, or works out of a mode's sight."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import enodo
from enodo.core.partly import Partly

S = 36


class Odd(nn.Module):
    """`odd(self, x, y)` joins maps from before (x) and after (y) the layer `mid`, (B, 16, S, S) both."""

    def __init__(self, odd) -> None:
        super().__init__()
        self.stem, self.mid = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head, self.odd = nn.Linear(16, 4), odd

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.odd(self, x, self.mid(x)).mean((2, 3)))


def same_tensor(self, x, y):
    y.double().relu_()
    return self.mid(y) + x


def detached(self, x, y):
    y.detach().relu_()
    return self.mid(y) + x


def seen_in_a_view(self, x, y):
    half = y[:, :8]
    y += 1
    return self.mid(torch.cat([half, half], 1)) + x


def through_data(self, x, y):
    y.data.mul_(2)
    return self.mid(y) + x


def scripted(self, x, y):
    return x + SQUARE(y)


def scripted_rows_second(self, x, y):
    return x + SQUARE(y.transpose(0, 1)).transpose(0, 1)


def mapped(self, x, y):
    return x + torch.func.vmap(lambda t: t * t)(y)


def by_numpy(self, x, y):
    return x * torch.from_numpy(y.numpy() ** 2)


def by_numbers(self, x, y):
    gates = [2.0 * number for number in y.mean((1, 2, 3)).tolist()]
    return x * torch.tensor(gates, dtype=x.dtype).view(-1, 1, 1, 1)


def by_strides(self, x, y):
    return x + y.as_strided(y.shape, y.stride())


def scripted_flat(self, x, y):
    return x + SQUARE(y.flatten(0, 1)).view(y.shape)


def mapped_flat(self, x, y):
    return x + torch.func.vmap(lambda t: t * t)(y.flatten(0, 2)).view(y.shape)


def scripted_in_place(self, x, y):
    z = x * 1
    before = z + y
    ADD_ONE(z)
    return before + z


def memory_taken_over(self, x, y):
    z = torch.empty(0, dtype=y.dtype)
    z.set_(y.contiguous())
    return x + z


def several_at_once(self, x, y):
    both = [x + 0, y + 0]
    torch._foreach_mul_(both, 2.0)
    return both[0] + both[1]


def sparse(self, x, y):
    return x + y.to_sparse().to_dense()


class AddOne(nn.Module):
    def forward(self, x):
        return x.add_(1)


class Square(nn.Module):
    def forward(self, x):
        return x * x


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    SQUARE = torch.jit.trace(Square(), torch.ones(2))
    ADD_ONE = torch.jit.trace(AddOne(), torch.ones(2))
WRITING = (same_tensor, detached, seen_in_a_view, through_data, scripted_in_place, several_at_once)
HIDDEN = (
    *(scripted, scripted_rows_second, scripted_flat, scripted_in_place, mapped, mapped_flat, by_numpy, by_numbers),
    memory_taken_over,
)


@pytest.mark.parametrize(
    ("odd", "method", "options"),
    [(odd, "occlusion", {"window": (3, 9, 9), "strides": (3, 9, 9)}) for odd in (*WRITING, by_strides, sparse)]
    + [(odd, "feature_ablation", {"wrt": "mid", "features": 4}) for odd in HIDDEN],
)
def test_equal_to_full_passes(odd, method, options, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Odd(odd).double().eval()
    x = torch.rand(2, 3, S, S, generator=torch.Generator().manual_seed(1)).double()
    got = enodo.explain(model, x, method, target=1, **options)
    monkeypatch.setattr(Partly, "suits", staticmethod(lambda q: False))
    full = enodo.explain(model, x, method, target=1, **options)
    assert full.tensor.abs().max() > 1e-5
    torch.testing.assert_close(got.tensor, full.tensor, rtol=1e-9, atol=1e-12)
