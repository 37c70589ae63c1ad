"""Running statistics of a stream of equally shaped tensors, in one pass (Welford 1962).

A statistic sees one tensor an update and summarises element by element. It may lean on another one (`Var` on `MSE`,
`MSE` on `Mean`): the summarizer that owns it keeps each of these once, and updates it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from enodo.core.errors import refuse

StatValue = Tensor | int | float  # what a statistic comes to
S = TypeVar("S", bound="Stat")


class Owner(Protocol):
    """Keeper of statistics that lean on each other: a `SummarizerSingleTensor`."""

    def provide(self, stat: Stat) -> Stat:
        """The kept statistic equal to `stat`."""


class Stat:
    """A running statistic. For one of your own, write `update`, `get` and, where it leans on another, `init`."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        self.params = kwargs
        self._name = name
        self._owner: Owner | None = None

    def init(self) -> None:
        """Fetch with `_get_stat` the statistics this one leans on; called once, by the owner."""

    def _get_stat(self, stat: S) -> S:
        if self._owner is None:
            name = type(self).__name__
            refuse(
                name,
                "an update outside a summarizer",
                "a summarizer that also keeps what it leans on",
                f"Write Summarizer([{name}()]).update(x).",
            )
        return cast(S, self._owner.provide(stat))  # equal statistics are of one class

    def update(self, x: Tensor) -> None:
        raise NotImplementedError

    def get(self) -> StatValue | None:
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash((type(self), frozenset(self.params.items())))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Stat) and self.params == other.params

    @property
    def name(self) -> str:
        """The key in a summary."""
        return self._name if self._name is not None else type(self).__name__.lower()


def _wide(x: Tensor) -> Tensor:
    """`x` in the widest float its device has: a long stream loses digits in float32."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def _narrow(x: Tensor, like: torch.dtype) -> Tensor:
    return x.to(like) if like.is_floating_point else x


class Count(Stat):
    """Number of updates."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.n: int | None = None

    def get(self) -> int | None:
        return self.n

    def update(self, x: Tensor) -> None:
        self.n = (self.n or 0) + 1


class Mean(Stat):
    """Mean over the updates."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rolling_mean: Tensor | None = None
        self.dtype = torch.float32
        self.n: Count | None = None

    def get(self) -> Tensor | None:
        return None if self.rolling_mean is None else _narrow(self.rolling_mean, self.dtype)

    def init(self) -> None:
        self.n = self._get_stat(Count())

    def update(self, x: Tensor) -> None:
        count = (self.n or self._get_stat(Count())).get() or 1
        self.dtype = x.dtype
        mean = torch.zeros_like(_wide(x)) if self.rolling_mean is None else self.rolling_mean
        self.rolling_mean = mean + (_wide(x) - mean) / count


class MSE(Stat):
    """Sum of the squared deviations from the mean."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.mse: Tensor | None = None
        self.mean: Mean | None = None
        self.previous: Tensor | None = None  # the mean one update ago

    def init(self) -> None:
        self.mean = self._get_stat(Mean())

    def get(self) -> Tensor | None:
        return None if self.mse is None or self.mean is None else _narrow(self.mse, self.mean.dtype)

    def update(self, x: Tensor) -> None:
        mean = (self.mean or self._get_stat(Mean())).rolling_mean
        if mean is None or self.previous is None or self.mse is None:
            self.mse = torch.zeros_like(_wide(x))
        else:
            self.mse = self.mse + (_wide(x) - self.previous) * (_wide(x) - mean)
        self.previous = mean


class Var(Stat):
    """Variance: the squared deviations divided by the number of updates less `order` (1: the sample variance)."""

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        if name is None:
            name = {0: "variance", 1: "sample_variance"}.get(order, f"variance({order})")
        super().__init__(name=name, order=order)
        self.order = order
        self.mse_stat: MSE | None = None
        self.n_stat: Count | None = None

    def init(self) -> None:
        self.mse_stat, self.n_stat = self._get_stat(MSE()), self._get_stat(Count())

    def update(self, x: Tensor) -> None:
        """Nothing to do: all of it is in the statistics below."""

    def get(self) -> Tensor | None:
        squares = None if self.mse_stat is None else self.mse_stat.get()
        n = None if self.n_stat is None else self.n_stat.get()
        if squares is None or n is None:
            return None
        return squares / (n - self.order) if n > self.order else torch.zeros_like(squares)


class StdDev(Stat):
    """Square root of `Var(order)`."""

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        if name is None:
            name = {0: "std_dev", 1: "sample_std_dev"}.get(order, f"std_dev({order})")
        super().__init__(name=name, order=order)
        self.order = order
        self.var_stat: Var | None = None

    def init(self) -> None:
        self.var_stat = self._get_stat(Var(order=self.order))

    def update(self, x: Tensor) -> None:
        """Nothing to do: all of it is in the variance."""

    def get(self) -> Tensor | None:
        variance = None if self.var_stat is None else self.var_stat.get()
        return None if variance is None else variance.sqrt()


class GeneralAccumFn(Stat):
    """A fold of the updates with `fn(result, x)`, beginning with the first of them."""

    def __init__(self, fn: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> None:
        super().__init__(name=name)
        self.result: Tensor | None = None
        self.fn = fn

    def get(self) -> Tensor | None:
        return self.result

    def update(self, x: Tensor) -> None:
        self.result = x if self.result is None else self.fn(self.result, x)


class Min(GeneralAccumFn):
    """Smallest value."""

    def __init__(self, name: str | None = None, min_fn: Callable[[Tensor, Tensor], Tensor] = torch.min) -> None:
        super().__init__(name=name, fn=min_fn)


class Max(GeneralAccumFn):
    """Largest value."""

    def __init__(self, name: str | None = None, max_fn: Callable[[Tensor, Tensor], Tensor] = torch.max) -> None:
        super().__init__(name=name, fn=max_fn)


class Sum(GeneralAccumFn):
    """Sum."""

    def __init__(self, name: str | None = None, add_fn: Callable[[Tensor, Tensor], Tensor] = torch.add) -> None:
        super().__init__(name=name, fn=add_fn)


def CommonStats() -> list[Stat]:
    """Mean, sample variance, sample standard deviation, minimum and maximum."""
    return [Mean(), Var(order=1), StdDev(order=1), Min(), Max()]
