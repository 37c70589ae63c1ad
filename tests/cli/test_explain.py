"""`enodo explain`: real runs, what they print, write and return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import enodo
from enodo.cli.commands import run
from enodo.io import load_subject

FILE = """
import torch
from torch import nn
class Nan(nn.Module):
    def forward(self, x): return x @ torch.full((3, 2), float("nan"))
class Breaks(nn.Module):
    def forward(self, x): raise RuntimeError("a bug in the model")
class Dense(nn.Module):
    def forward(self, x): return x[:, None, :].expand(-1, 2, -1) * 2
def plain(): torch.manual_seed(0); return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
def named(): return plain(), {"kind": "tensor", "classes": ["no", "yes"]}
def nan(): return Nan()
def breaks(): return Breaks()
def dense(): return Dense()
"""


TOP = "schema model input prediction target targets explanations evidence versions command"
FIELDS = (
    "method title target options baseline wrt of score baseline_score gap error seed seconds rows batch_size notes "
    "shape features values"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FILE)
    (tmp_path / "x.json").write_text("[[1, 2, 3]]")
    return tmp_path


def enodo_json(capsys, *arguments: str) -> dict:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table_row_is_told_in_words(capsys) -> None:
    assert run(["explain", "--model", "breast-cancer", "--row", "3"]) == 0
    out, err = capsys.readouterr()
    assert "->  99.8%  malignant" in out
    assert "recorded answer: malignant" in out
    assert "worst symmetry" in out
    assert "The parts add up to" in out
    assert "\x1b[" not in out
    assert err == ""


def test_json_holds_the_numbers_of_the_library(capsys) -> None:
    told = enodo_json(
        capsys, "explain", "--model", "breast-cancer", "--row", "3", "--method", "integrated_gradients", "--steps", "20"
    )
    subject = load_subject("breast-cancer")
    example = subject.read(None, 3)
    answer = enodo.explain(subject.model, example.inputs, target=0, steps=20)
    assert told["schema"] == "enodo.explanation/1"
    assert set(told) == set(TOP.split())
    assert told["targets"] == [told["target"]]
    assert told["evidence"] == []
    assert told["target"] == {"index": 0, "name": "malignant"}
    assert told["input"] == {"title": "row 3 of breast-cancer", "kind": "table", "note": None, "truth": "malignant"}
    assert sum(a["probability"] for a in told["prediction"]) == pytest.approx(1)
    (one,) = told["explanations"]
    assert set(one) == set(FIELDS.split())
    assert one["options"]["steps"] == 20
    assert one["shape"] == {"value": [1, 30]}
    assert torch.allclose(torch.tensor(one["values"]["value"]), answer.tensor)
    assert [f["attribution"] for f in one["features"]] == pytest.approx(answer.tensor[0].tolist())
    assert one["gap"] == pytest.approx(float(answer.delta), abs=1e-6)
    assert one["score"] - one["baseline_score"] + one["gap"] == pytest.approx(float(answer.sum()), abs=1e-5)


def test_targets_baselines_and_options(capsys) -> None:
    row = ["explain", "--model", "breast-cancer", "--row", "0"]
    benign = enodo_json(capsys, *row, "--target", "Benign")
    assert benign["target"] == {"index": 1, "name": "benign"}
    by_index = enodo_json(capsys, *row, "--target", "1")
    assert by_index["explanations"][0]["values"] == benign["explanations"][0]["values"]
    other = enodo_json(capsys, *row, "--baseline", "row:19")["explanations"][0]
    assert other["baseline"] == "row 19 of the same data"
    subject = load_subject("breast-cancer")
    start = float(subject.model(subject.read(None, 19).inputs)[0, 0].detach())
    assert other["baseline_score"] == pytest.approx(start, abs=1e-4)
    chosen = enodo_json(capsys, *row, "--option", "quadrature=riemann_left", "--option", "steps=7")["explanations"][0]
    assert (chosen["options"]["quadrature"], chosen["options"]["steps"], chosen["rows"]) == ("riemann_left", 7, 9)


def test_an_option_goes_to_the_methods_that_have_it(capsys) -> None:
    row = ["explain", "--model", "breast-cancer", "--method", "integrated_gradients", "--method", "vargrad"]
    plain = enodo_json(capsys, *row, "--steps", "9", "--samples", "3")["explanations"]
    assert [e["options"].get("steps") for e in plain] == [9, None]
    assert [e["options"].get("samples") for e in plain] == [None, 3]
    drawn = enodo_json(capsys, *row[:3], "--method", "vargrad", "--method", "lime", "--samples", "70")["explanations"]
    assert [e["options"].get("samples") for e in drawn] == [70, None]
    assert drawn[1]["options"]["max_evaluations"] == 70
    inner = enodo_json(capsys, *row, "--steps", "9", "--option", "inner=integrated_gradients")["explanations"]
    assert [e["options"]["steps"] for e in inner] == [9, 9]
    assert [e["baseline"] is None for e in plain] == [False, True]
    assert [e["baseline"] is None for e in inner] == [False, False]


def test_categories_are_one_feature_and_wages_have_a_unit(capsys) -> None:
    told = enodo_json(capsys, "explain", "--model", "wage", "--row", "3", "--method", "input_x_gradient")
    features = told["explanations"][0]["features"]
    assert [f["name"] for f in features] == [
        "year",
        "age",
        "maritl",
        "race",
        "education",
        "jobclass",
        "health",
        "health_ins",
    ]
    assert told["explanations"][0]["shape"] == {"value": [1, 22]}
    assert told["explanations"][0]["baseline"] is None
    assert told["model"]["unit"] == "thousand dollars a year"
    assert told["prediction"][0]["probability"] is None


def test_a_sentence_for_real(capsys, tmp_path) -> None:
    page = tmp_path / "page.html"
    sentence = "A <b>wonderful</b> film."
    told = enodo_json(capsys, "explain", sentence, "--model", "minilm-sentiment", "--steps", "15", "--out", str(page))
    assert told["target"]["name"] == "positive"
    features = told["explanations"][0]["features"]
    assert [f["name"] for f in features][:5] == ["[CLS]", "A", "<", "b", ">"]
    assert max(features, key=lambda f: f["attribution"])["name"] == "wonderful"
    gap, first = told["explanations"][0]["gap"], told["explanations"][0]
    assert abs(gap) < 0.05 * abs(first["score"] - first["baseline_score"])
    text = page.read_text(encoding="utf-8")
    assert "wonderful</span>" in text
    assert "<b>" not in text


def test_a_text_that_is_cut_says_so(capsys) -> None:
    assert run(["explain", "A good film. " * 200, "--model", "minilm-sentiment", "--method", "gradient"]) == 0
    assert "only the first 256 of 802 tokens were read" in capsys.readouterr().out


def test_a_photo_for_real(capsys, tmp_path) -> None:
    paths = [tmp_path / name for name in ("r.html", "r.png", "r.json", "r.safetensors")]
    outs = [word for path in paths for word in ("--out", str(path))]
    code = run(
        [
            "explain",
            "chelsea",
            "--method",
            "gradient",
            "--method",
            "gradient_x_activation",
            "--wrt",
            "_blocks.10",
            *outs,
        ]
    )
    out, err = capsys.readouterr()
    assert code == 0
    assert "38.5%  tiger cat" in out
    assert "strongest ninth of the picture" in out
    assert "compared with" not in out  # neither method compares with a baseline
    assert err.splitlines() == [
        f"wrote {p}" for p in [*paths[:3], tmp_path / "r.0.safetensors", tmp_path / "r.1.safetensors"]
    ]
    page = paths[0].read_text(encoding="utf-8")
    assert "Why \u201ctiger cat\u201d?" in page
    assert page.count("<article>") == 2
    told = json.loads(paths[2].read_text(encoding="utf-8"))
    assert told["explanations"][0]["shape"] == {"value": [1, 112, 14, 14]}
    assert told["explanations"][0]["values"] is None
    with safe_open(tmp_path / "r.1.safetensors", "pt") as file:
        assert list(file.keys())
    loaded = enodo.load(tmp_path / "r.1.safetensors")
    assert loaded.method == "gradient_x_activation"
    assert loaded.shape == (1, 112, 14, 14)


def test_models_of_ones_own(capsys, here) -> None:
    told = enodo_json(capsys, "explain", "x.json", "--model", "own.py:plain", "--target", "1")
    assert told["prediction"][0]["probability"] is None
    assert len(told["explanations"][0]["values"]["value"][0]) == 3
    named = enodo_json(capsys, "explain", "x.json", "--model", "own.py:named", "--target", "yes")
    assert named["explanations"][0]["values"] == told["explanations"][0]["values"]
    unit = enodo_json(
        capsys, "explain", "x.json", "--model", "own.py:plain", "--of", "1", "--target", "2", "--method", "gradient"
    )
    assert unit["explanations"][0]["of"] == "1"
    assert all(a["name"] for a in unit["prediction"])
    dense = enodo_json(
        capsys, "explain", "x.json", "--model", "own.py:dense", "--target", "1,2", "--method", "gradient"
    )
    assert dense["explanations"][0]["values"]["value"] == [[0.0, 0.0, 2.0]]
    assert dense["target"] == {"index": [1, 2], "name": "output (1, 2)"}
    inside = ["explain", "x.json", "--model", "own.py:plain", "--of", "1", "--target", "2"]
    assert run([*inside, "--out", "unit.html"]) == 0
    assert "Why unit 2 of 1?" in Path("unit.html").read_text("utf-8")
    assert run(["explain", "x.json", "--model", "own.py:plain", "--method", "vargrad", "--out", "size.html"]) == 0
    assert "Below: which inputs mattered." in Path("size.html").read_text("utf-8")
    assert "integrated gradients: unit 2 of 1" in capsys.readouterr().out.lower()


def test_the_seed_governs_what_is_drawn(capsys, here) -> None:
    drawn = ["explain", "x.json", "--model", "own.py:plain", "--method", "smoothgrad", "--samples", "5"]
    drawn += ["--option", "inner=input_x_gradient"]
    one, same, other = (enodo_json(capsys, *drawn, "--seed", seed)["explanations"][0] for seed in ("1", "1", "2"))
    assert one["values"] == same["values"]
    assert one["values"] != other["values"]
    assert one["seed"] == 1


def test_the_command_is_told_as_typed(here) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = [sys.executable, "-c", "from enodo.cli import main; main()"]
    arguments = ["explain", "x.json", "--model", "own.py:plain", "--progress", "--json"]
    done = subprocess.run([*start, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["command"] == "enodo " + " ".join(arguments)
    assert "Integrated gradients" in done.stderr  # the bar


@pytest.mark.parametrize(("colour", "codes"), [("", True), ("1", False)])
def test_no_color_is_honoured(colour, codes, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("NO_COLOR", colour)
    assert run(["explain", "--model", "breast-cancer"]) == 0
    assert ("38;2" in capsys.readouterr().out) is codes
