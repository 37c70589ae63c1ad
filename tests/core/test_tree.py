"""Pytrees: what is taken apart is put together again, in the containers it came in."""

from __future__ import annotations

from collections import OrderedDict

import torch
from hypothesis import given
from hypothesis import strategies as st

from enodo.core import tree as trees
from tests.core.trees import Batch, Encoding, Fixed, Pair, nests

trees_of_numbers = nests(st.integers())


@given(trees_of_numbers)
def test_mapping_the_identity_changes_nothing(tree):
    out = trees.map_tree(lambda leaf: leaf, tree)
    assert out is tree


@given(trees_of_numbers)
def test_every_leaf_is_reached_once_in_order_and_by_its_path(tree):
    found = list(trees.leaves(tree))
    seen = []
    trees.map_tree(seen.append, tree)
    assert seen == [leaf for _, leaf in found]
    for path, leaf in found:
        assert trees.get(tree, path) == leaf
    assert len({path for path, _ in found}) == len(found)


@given(trees_of_numbers)
def test_putting_changes_one_leaf_and_leaves_the_original_alone(tree):
    before = list(trees.leaves(tree))
    for path, _ in before:
        changed = trees.put(tree, path, "new")
        assert list(trees.leaves(changed)) == [(p, "new" if p == path else leaf) for p, leaf in before]
        assert type(changed) is (type(tree) if path else str)
    assert list(trees.leaves(tree)) == before


@given(trees_of_numbers, st.integers())
def test_several_trees_are_read_along(tree, n):
    double = trees.map_tree(lambda leaf: leaf + n, tree)
    assert trees.map_tree(lambda a, b: b - a, tree, double) == trees.map_tree(lambda leaf: n, tree)


def test_containers_keep_their_type_and_what_else_they_carry():
    encoding = Encoding(a=1)
    encoding.origin = "mine"
    out = trees.map_tree(lambda leaf: leaf + 1, encoding)
    assert type(out) is Encoding
    assert out.origin == "mine"
    assert out["a"] == 2
    assert encoding["a"] == 1
    assert trees.map_tree(str, Pair(1, (2, [3]))) == Pair("1", ("2", ["3"]))
    assert trees.map_tree(str, Batch(1, {"k": 2})) == Batch("1", {"k": "2"})
    assert trees.map_tree(str, Fixed(1)) == Fixed("1")
    assert list(trees.map_tree(str, OrderedDict(b=1, a=2))) == ["b", "a"]


def test_a_tensor_is_a_leaf_and_so_is_what_is_not_understood():
    t = torch.zeros(2, 3)
    assert list(trees.leaves(t)) == [((), t)]
    for leaf in (None, 1.5, "text", {1, 2}, object(), Batch):
        assert list(trees.leaves(leaf)) == [((), leaf)]


def test_empty_containers():
    for empty in ((), [], {}):
        assert list(trees.leaves(empty)) == []
        assert trees.map_tree(str, empty) == empty


def test_paths_are_spelt_as_a_reader_would():
    assert trees.spell(("mask", 0, "a b")) == "['mask'][0]['a b']"
    assert trees.spell(()) == ""
