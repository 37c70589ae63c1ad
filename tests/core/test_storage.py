"""Attributions in files: what is written is read back; anything else is refused with one clear sentence."""

from __future__ import annotations

import json
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import enodo
from enodo import Attribution, BadArgument
from enodo.core import storage
from enodo.core import tree as trees
from tests.core.trees import Batch, Pair, nests

DATA = Path(__file__).parent / "data"


def written(path: Path) -> Path:
    """A file of a real answer."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    enodo.explain(lambda x: x[:, 0] * x[:, 1], x).save(path)
    return path


def header(path: Path) -> dict[str, Any]:
    """The JSON that safetensors keeps before the tensors."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size])


def described(path: Path, description: str) -> Path:
    """The file with another description."""
    tensors = load_file(str(path))
    save_file(tensors, str(path), metadata={"enodo": description})
    return path


def changed(path: Path, **fields: Any) -> Path:
    """The file with some fields of its description replaced."""
    return described(path, json.dumps(json.loads(header(path)["__metadata__"]["enodo"]) | fields))


def test_everything_comes_back(tmp_path):
    x = torch.rand(3, 4)
    got = enodo.explain(
        torch.nn.Linear(4, 2).eval(),
        x,
        "gradient_shap",
        target=[1, 0, 1],
        baseline=torch.zeros(2, 4),
        samples=4,
        seed=7,
    )
    got.tokens, got.feature_names, got.class_names = [["a"]], ["w", "x", "y", "z"], ["no", "yes"]
    got.notes.append("a note with ünicode")
    got.save(tmp_path / "a.enodo")
    back = enodo.load(tmp_path / "a.enodo")
    for name in ("values", "scores", "baseline_scores", "delta", "stderr"):
        assert torch.equal(getattr(back, name), getattr(got, name)), name
    for name in storage.PLAIN:
        assert getattr(back, name) == getattr(got, name), name
    assert back.error is None
    assert back.seed == 7
    assert back.target == [1, 0, 1]


leaf = st.sampled_from([torch.arange(6.0).view(2, 3), torch.ones(1, dtype=torch.float64), torch.tensor(3), None])


@given(nests(leaf))
def test_every_structure_comes_back_as_dicts_tuples_and_lists(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("a") / "a.enodo"
    Attribution(tree, "mine").save(path)
    back = Attribution.load(path).values
    mine = [t for _, t in trees.leaves(tree)]
    theirs = [t for _, t in trees.leaves(back)]
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a is b is None or (a.dtype == b.dtype and torch.equal(a, b))


def test_structures_by_name(tmp_path):
    tree = OrderedDict(ids=Pair(torch.ones(2), [torch.zeros(1), None]), more=Batch(torch.ones(1)))
    Attribution(tree).save(tmp_path / "a")
    back = enodo.load(tmp_path / "a").values
    assert type(back) is dict
    assert torch.equal(back["ids"][0], torch.ones(2))
    assert back["ids"][1][1] is None
    assert back["more"]["mask"] is None


def test_keys_that_spell_the_same_path_stay_apart(tmp_path):
    tree = {"a": {"b": torch.zeros(1), 1: torch.ones(1)}, "a.b": torch.full((1,), 2.0), "1": torch.ones(1)}
    Attribution(tree).save(tmp_path / "a")
    back = enodo.load(tmp_path / "a").values
    assert back["a"] == {"b": torch.zeros(1), 1: torch.ones(1)}
    assert back["a.b"] == 2
    assert list(back) == ["a", "a.b", "1"]


def test_labels_of_any_list_are_kept(tmp_path):
    found = Attribution(torch.ones(1, 2), feature_names=np.array(["u", "v"]), class_names=range(2))  # type: ignore[arg-type]
    found.save(tmp_path / "a")
    back = enodo.load(tmp_path / "a")
    assert (back.feature_names, back.class_names) == (["u", "v"], ["0", "1"])
    found.tokens = "ab"  # type: ignore[assignment]
    with pytest.raises(BadArgument, match="tokens"):
        found.save(tmp_path / "b")


@pytest.mark.parametrize("name", ["a.csv", "a.pt", "a.gif"])
def test_a_name_that_promises_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(BadArgument, match="to_dataframe"):
        Attribution(torch.ones(1, 2)).save(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BadArgument, match="folder"):
        Attribution(torch.ones(1, 2)).save(tmp_path / "missing" / "a")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_dtypes(tmp_path, dtype):
    t = torch.tensor([0, 1, 1]).to(dtype)
    Attribution(t).save(tmp_path / "a")
    assert torch.equal(enodo.load(tmp_path / "a").values, t)
    assert enodo.load(tmp_path / "a").values.dtype == dtype


def test_views_and_graphs_are_saved_as_plain_numbers(tmp_path):
    t = torch.arange(12.0, requires_grad=True).view(3, 4)
    Attribution({"all": t, "part": t[:, ::2], "turned": t.T}).save(tmp_path / "a")
    back = enodo.load(tmp_path / "a").values
    assert torch.equal(back["turned"], t.T)
    assert torch.equal(back["part"], t[:, ::2])
    assert not back["all"].requires_grad


def test_options_that_json_cannot_hold_are_kept_as_text(tmp_path):
    Attribution(torch.ones(1), options={"f": torch.tanh, "n": 3}).save(tmp_path / "a")
    options = enodo.load(tmp_path / "a").options
    assert options["n"] == 3
    assert "tanh" in options["f"]


def test_a_file_of_the_first_format_opens_for_ever():
    """Written once by version 0.1, and never again."""
    got = enodo.load(DATA / "format1.enodo")
    torch.testing.assert_close(got.values["x"], torch.tensor([[3.0, 3.0], [-1.0, -1.0]], dtype=torch.float64))
    assert got.values["mask"] is None
    assert got.method == "integrated_gradients"
    assert got.options["steps"] == 2
    assert got.scores is not None
    assert got.scores.tolist() == [6.0, -2.0]
    assert got.baseline_scores is not None
    assert got.baseline_scores.tolist() == [0.0, 0.0]
    assert got.delta is not None
    assert got.delta.abs().max() < 1e-12
    assert got.class_names == ["product"]
    assert got.versions["enodo"]
    assert got.notes == []


class TestRefused:
    def refused(self, path: Path, said: str) -> None:
        with pytest.raises(BadArgument, match=said) as caught:
            enodo.load(path)
        assert caught.value.argument == "path"
        assert str(path) in str(caught.value)
        assert "Attribution.save" in str(caught.value) or "newer" in str(caught.value)

    def test_no_file(self, tmp_path):
        self.refused(tmp_path / "missing", "missing")
        self.refused(tmp_path, str(tmp_path))

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
    def test_truncated_anywhere(self, tmp_path, share):
        raw = written(tmp_path / "whole").read_bytes()
        (tmp_path / "cut").write_bytes(raw[: int(len(raw) * share)])
        self.refused(tmp_path / "cut", "cannot be read")

    @given(st.integers(0, 10**6), st.integers(1, 255))
    def test_a_damaged_byte_is_refused_or_harmless(self, tmp_path_factory, where, by):
        """No error but a BadArgument comes out, wherever a byte is changed."""
        path = tmp_path_factory.mktemp("a") / "a"
        raw = bytearray(written(path).read_bytes())
        raw[where % len(raw)] ^= by
        path.write_bytes(raw)
        try:
            got = enodo.load(path)
        except BadArgument:
            return
        assert isinstance(repr(got), str)
        assert isinstance(got.values, Tensor)

    def test_a_pickle_is_not_run(self, tmp_path):
        fired = tmp_path / "fired"

        class Bomb:
            def __reduce__(self) -> Any:
                return Path.touch, (fired,)

        (tmp_path / "a").write_bytes(pickle.dumps(Bomb()))
        self.refused(tmp_path / "a", "cannot be read")
        torch.save({"values": torch.ones(1)}, tmp_path / "b")
        self.refused(tmp_path / "b", "cannot be read")
        assert not fired.exists()

    def test_a_header_that_claims_too_much(self, tmp_path):
        (tmp_path / "a").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
        self.refused(tmp_path / "a", "cannot be read")

    def test_safetensors_of_something_else(self, tmp_path):
        save_file({"w": torch.ones(2)}, str(tmp_path / "a"))
        self.refused(tmp_path / "a", "cannot be read")
        save_file({"w": torch.ones(2)}, str(tmp_path / "b"), metadata={"enodo": "not json"})
        self.refused(tmp_path / "b", "cannot be read")

    def test_a_newer_format(self, tmp_path):
        self.refused(changed(written(tmp_path / "a"), format=storage.FORMAT + 1), "newer enodo")

    @pytest.mark.parametrize(
        "fields",
        [
            {"values": {"tensor": "elsewhere"}},
            {"values": {"tensor": ["values"]}},
            {"values": "tensor"},
            {"values": 5},
            {"values": {"mapping": 5}},
            {"values": {"sequence": [["0"]]}},
            {"values": {"run": "rm"}},
            {"scores": {"mapping": []}},
            {"notes": "text"},
            {"options": []},
            {"seconds": "long"},
            {"method": 5},
            {"rows": None},
            {"tokens": "abc"},
            {"texts": [[1]]},
            {"class_names": {"0": "no"}},
            {"notes": [{"a": 1}]},
            {"notes": None},
        ],
    )
    def test_a_description_that_cannot_be(self, tmp_path, fields):
        self.refused(changed(written(tmp_path / "a"), **fields), "damaged")

    def test_a_format_beyond_all_numbers(self, tmp_path):
        self.refused(changed(written(tmp_path / "a"), format=float("inf")), "cannot be read")

    @pytest.mark.parametrize("depth", [500, 100_000])
    def test_a_nest_without_end(self, tmp_path, depth):
        nest = '{"sequence": [["0", ' * depth + '{"none": true}' + "]]}" * depth
        description = json.dumps(json.loads(header(written(tmp_path / "a"))["__metadata__"]["enodo"]) | {"values": 0})
        self.refused(described(tmp_path / "a", description.replace('"values": 0', f'"values": {nest}')), "a")

    def test_fields_of_a_later_version_are_left_out_with_a_note(self, tmp_path):
        got = enodo.load(changed(written(tmp_path / "a"), mood="bright"))
        assert len(got.notes) == 1
        assert "mood" in got.notes[0]


def test_rules_are_kept_by_their_names(tmp_path: Path) -> None:
    from enodo.rules import Composite, lrp

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    rules = {torch.nn.Linear: lrp.flat(), torch.nn.functional.conv2d: lrp.gamma(), "0": lrp.epsilon()}
    found = enodo.explain(model, torch.ones(1, 3), "lrp", target=0, rules=rules, composite=Composite(lrp.z_plus()))
    found.save(tmp_path / "a")
    kept = enodo.load(tmp_path / "a").options
    assert kept["rules"] == {"Linear": "flat", "conv2d": "gamma", "0": "epsilon"}
    assert "alpha_beta" in kept["composite"]
