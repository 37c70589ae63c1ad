"""`Stream` and `Seats`: the tokens of a pass that go side by side, and where some of them are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

NOBODY = -1  # no token: what the model fills up with


@dataclass(eq=False)
class Stream:
    """Tokens that go through a model side by side, `count` in each row."""

    first: int  # the number of the first token of the first row; those of a row follow one another
    count: int
    sources: tuple[Any, ...] = ()  # nodes of the graph: values that gradients are taken of, and these tokens are
    parent: Stream | None = None  # of which these are put together,
    shares: Tensor | None = None  # with these shares, (B, count, count of the parent), each row's sum being one

    learnt: bool = False  # tokens that the model brings with it: they have no place at the values explained

    @property
    def root(self) -> Stream:
        """The stream that this one was made of in the beginning."""
        return self if self.parent is None else self.parent.root


class Seats(NamedTuple):
    """Tokens by their place: (B, n), or (B, W, n) in windows; NOBODY where there is none."""

    stream: Stream
    places: Tensor
