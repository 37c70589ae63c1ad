"""`enodo methods`, `enodo models`, `enodo inspect`."""

from __future__ import annotations

import json

import enodo
from enodo.cli.commands import run
from enodo.io import SUBJECTS


def test_every_method_is_listed_with_its_advice(capsys) -> None:
    assert run(["methods"]) == 0
    told = capsys.readouterr().out
    for card in enodo.methods().values():
        assert f"\n{card.name}" in f"\n{told}"
        assert card.when
        assert card.when in told
    assert run(["methods", "--json"]) == 0
    listed = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(enodo.methods())
    assert listed["integrated_gradients"]["options"]["steps"] == 50
    assert listed["integrated_gradients"]["claims"] == ["completeness", "once"]
    assert "saliency" in listed["gradient"]["aliases"]


def test_one_method_is_told_in_full(capsys) -> None:
    assert run(["methods", "saliency"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("gradient")
    assert "df(x) / dx_i" in told
    assert "arXiv:1312.6034" in told


def test_models_are_listed(capsys) -> None:
    assert run(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed] == list(SUBJECTS)
    assert all(len(model["summary"]) > 20 for model in listed)
    assert run(["models"]) == 0
    assert "file.py:factory" in capsys.readouterr().out


def test_layers_are_listed_as_points_with_shapes(capsys) -> None:
    assert run(["inspect", "breast-cancer", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert layers == [
        {"point": "0", "type": "Linear", "parameters": 496, "output": [[1, 16]], "runs": 1},
        {"point": "1", "type": "ReLU", "parameters": 0, "output": [[1, 16]], "runs": 1},
        {"point": "2", "type": "Linear", "parameters": 34, "output": [[1, 2]], "runs": 1},
    ]


def test_a_layer_that_runs_twice_says_so_and_names_are_whole(capsys) -> None:
    assert run(["inspect", "minilm-sentiment", "--depth", "3"]) == 0
    told = capsys.readouterr().out
    assert "encoder.embeddings.token_type_embeddings" in told
    assert "encoder.encoder.layer.0" not in told
    assert run(["inspect", "efficientnet-lite0", "--json"]) == 0
    layers = {layer["point"]: layer for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert layers["_blocks.10"]["output"] == [[1, 112, 14, 14]]
    assert layers["_blocks.10._swish"]["runs"] == 2


def test_without_an_input_there_are_no_shapes(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listed.py").write_text("from torch import nn\ndef model(): return nn.Sequential(nn.Linear(3, 2))\n")
    assert run(["inspect", "listed.py:model"]) == 0
    assert "give an INPUT" in capsys.readouterr().out
    (tmp_path / "x.json").write_text("[[1, 2, 3]]")
    assert run(["inspect", "listed.py:model", "x.json"]) == 0
    assert "[1, 2]" in capsys.readouterr().out
