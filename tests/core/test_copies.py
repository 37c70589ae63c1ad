"""Objects that hold tensors, given beside the inputs: each pass has its own, and the caller's stays as it is."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from tests.core.test_given import X, ig, product


class Keys:
    """What a model keeps from call to call."""

    def __init__(self) -> None:
        self.layers: list[list[Tensor]] = [[]]


def test_what_the_model_adds_to_is_as_before_in_each_pass() -> None:
    """An object that is no container, and grows as the model runs, as a transformer's cache of keys does."""
    seen = Keys()
    seen.layers[0].append((X[:1] + 1).requires_grad_() * 1)
    before = list(seen.layers[0])

    def model(x: Tensor, keys: Keys) -> Tensor:
        keys.layers[0].append(x)
        keys.layers[0][0].mul_(2)
        return product(x) * len(keys.layers[0]) + keys.layers[0][0].sum()

    for batch_size in (1, 4, "auto"):
        torch.testing.assert_close(ig(X, model=model, args=(seen,), batch_size=batch_size), 2 * ig(X))
        assert all(a is b for a, b in zip(seen.layers[0], before, strict=True))
        assert torch.equal(before[0], X[:1] + 1)


def test_what_cannot_be_copied_is_given_as_it_is() -> None:
    seen = Keys()
    seen.layers[0].append(X[:1])
    seen.lock = threading.Lock()  # type: ignore[attr-defined]
    met: set[int] = set()

    def model(x: Tensor, keys: Keys) -> Tensor:
        met.add(id(keys))
        return product(x)

    torch.testing.assert_close(ig(X, model=model, args=(seen,)), ig(X))
    assert met == {id(seen)}


def test_objects_that_know_each_other_are_looked_into_once() -> None:
    """Forty that all name all others: 40^6 ways from one to another."""
    ring = [Keys() for _ in range(40)]
    for keys in ring:
        keys.layers[0].extend(ring)
    ring[7].layers[0].append(X[:1])
    torch.testing.assert_close(ig(X, model=lambda x, keys: product(x), args=(ring[0],)), ig(X))
