"""Random numbers for sampling methods: each row of the batch draws from a stream of its own, fixed by (seed, row).

So a row's answer depends neither on its batch mates nor on how the work is cut into passes, and torch's global
generator is neither read nor moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import BadType, refuse
from .values import Values, check_real


def deviations(noise: Any, x: Values) -> Values:
    """The option `noise`, a standard deviation for all of `x` or a sequence with one for each of its tensors."""
    check_real(x.leaves, "INPUT")
    each = list(noise) if isinstance(noise, (tuple, list)) else [noise] * len(x)
    if len(each) != len(x):
        refuse("noise", noise, f"one standard deviation, or one for each of {len(x)} tensors")
    for one in each:
        if isinstance(one, bool) or not isinstance(one, (int, float)):
            refuse("noise", one, "a standard deviation, 0 or more", kind=BadType)
        if not 0 <= one < float("inf"):
            refuse("noise", one, "a standard deviation, 0 or more, finite")
    return Values(torch.tensor(one, dtype=t.dtype, device=t.device) for t, one in zip(x.leaves, each, strict=True))


@lru_cache(maxsize=1024)
def named(seed: int, key: tuple[int, ...]) -> int:
    """What a row's generator starts from; without a key, what all rows share does.

    The key is a spawn key and not more entropy, of which trailing zeros do not count: row 3 is not copy 0 of row 3.
    """
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])


class Streams:
    """One generator for each row; `keys` name the rows: their number in the batch, and of which copy of it."""

    def __init__(self, seed: int, keys: Sequence[tuple[int, ...]]) -> None:
        self.generators = []
        for key in keys:
            self.generators.append(torch.Generator().manual_seed(named(seed, key)))

    def normal(self, like: Values) -> Values:
        """Standard normal numbers in the shapes (B, ...), dtypes and devices of `like`."""
        return like.map(self._normal)

    def _normal(self, t: Tensor) -> Tensor:
        dtype = t.dtype if t.dtype == torch.float64 else torch.float32
        return torch.stack([torch.randn(t.shape[1:], generator=g, dtype=dtype) for g in self.generators]).to(t)

    def uniform(self) -> Tensor:
        """One number in [0, 1) a row, (B,), float64."""
        return torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in self.generators])

    def uniforms(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), (B, *shape), float32."""
        return torch.stack([torch.rand(shape, generator=g, dtype=torch.float32) for g in self.generators])

    def orders(self, k: int, n: int) -> Tensor:
        """Random orders of n things, k a row, (B, k, n).

        Numbers with their places in their last bits are sorted, in a third of the time that an argsort takes.
        """
        bits = self.uniforms(k, n).numpy().view(np.int32).astype(np.int64)  # in the order of the numbers
        keyed = bits << 32 | np.arange(n)
        keyed.sort(-1)
        return torch.from_numpy(keyed & 0xFFFFFFFF)

    def take(self, index: Tensor) -> Streams:
        """The streams of some of the rows, which go on where they are."""
        some = Streams(0, ())
        some.generators = [self.generators[i] for i in index.tolist()]
        return some

    def integers(self, high: int) -> Tensor:
        """One integer in [0, high) a row, (B,)."""
        return torch.stack([torch.randint(high, (), generator=g) for g in self.generators])
