"""What a photo is cut into where nobody says: regions that a method's evaluations do for, or masks of its own."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import enodo
from enodo.cli.commands import run
from enodo.io import Example
from enodo.io.parts import cut
from enodo.show.sample import Sample

MODEL = """
from torch import nn
def own():
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    return model, {"size": (64, 64), "mean": (128,) * 3, "std": (128,) * 3, "classes": ["no", "yes"]}
"""
SQUARES = "{} squares of {} \u00d7 {} pixels"


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(MODEL)
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "photo.png")

    def ask(*arguments: str) -> list[dict]:
        assert run(["explain", "photo.png", "--model", "own.py:own", *arguments, "--json"]) == 0
        return [e["options"] for e in json.loads(capsys.readouterr().out)["explanations"]]

    return ask


@pytest.mark.parametrize(
    ("method", "budget", "cut"),
    [
        ("kernel_shap", "200", (9, 22, 22)),  # 20 evaluations a region
        ("kernel_shap", "400", (16, 16, 16)),
        ("lime", "2000", (16, 16, 16)),  # never smaller than squares are without a budget
        ("exact_shapley", None, (9, 22, 22)),  # 2^9 evaluations
        ("k_out", "60", (9, 22, 22)),
        ("feature_ablation", None, (16, 16, 16)),
    ],
)
def test_regions_are_as_many_as_the_evaluations_do_for(asked, method, budget, cut) -> None:
    more = ["--option", f"max_evaluations={budget}"] if budget else []
    (options,) = asked("--method", method, *more)
    assert options["features"] == SQUARES.format(*cut)


def test_methods_side_by_side_take_the_same_regions(asked) -> None:
    found = asked("--method", "feature_ablation", "--method", "k_out", "--option", "max_evaluations=60")
    assert [options["features"] for options in found] == [SQUARES.format(9, 22, 22)] * 2


def test_smooth_masks_are_left_to_the_method(asked) -> None:
    few = ["--method", "rise", "--option", "max_evaluations=16"]
    assert asked(*few)[0]["features"] is None
    assert asked(*few, "--features", "squares:32")[0]["features"] == SQUARES.format(4, 32, 32)


def test_what_a_budget_affords() -> None:
    cards = enodo.methods()
    assert [cards["kernel_shap"].affords(n) for n in (5, 40, 1000)] == [1, 2, 50]
    assert [cards["exact_shapley"].affords(n) for n in (2, 511, 512)] == [1, 8, 9]
    assert cards["feature_ablation"].affords(7) == 7
    usual = Example(torch.zeros(1, 3, 224, 224), Sample("image", "a photo"))
    assert cut(None, usual).words == SQUARES.format(196, 16, 16)
    assert cut(None, usual, cards["kernel_shap"].affords(1000)).words == SQUARES.format(49, 32, 32)
