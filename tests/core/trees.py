"""Nested containers of every kind that models take, for the tests of the core."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Pair(NamedTuple):
    """A named tuple."""

    left: Any
    right: Any


@dataclass
class Batch:
    """A dataclass."""

    ids: Any
    mask: Any = None


@dataclass(frozen=True)
class Fixed:
    """A frozen dataclass."""

    x: Any


class Encoding(UserDict):  # type: ignore[type-arg]
    """A mapping that is no dict and carries an attribute, as tokenizers return."""

    origin = "tokenizer"


def nests(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers within containers with these leaves."""

    def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        keys = st.sampled_from(["a", "b", "input_ids", "c d"])
        return st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
            st.dictionaries(keys, inner, max_size=2).map(OrderedDict),
            st.dictionaries(keys, inner, max_size=2).map(Encoding),
            st.builds(Pair, inner, inner),
            st.builds(Batch, inner, inner),
            st.builds(Fixed, inner),
        )

    return st.recursive(leaves, wider, max_leaves=8)
