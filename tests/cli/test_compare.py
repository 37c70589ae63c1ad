"""`enodo compare` and `enodo report`: methods side by side with their evidence; several answers; parts in words."""

from __future__ import annotations

import json
import re

import pytest
import torch

import enodo
from enodo.cli.commands import BAD_INPUT, run
from enodo.io import load_subject
from enodo.io.parts import cut, windows
from enodo.metrics import agreement as agreement_of
from enodo.metrics import curves

from .test_explain import FILE

TABLE = ["--model", "breast-cancer", "--row", "3"]
QUICK = ["--points", "4", "--draws", "3"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FILE)
    (tmp_path / "x.json").write_text("[[1, 2, 3]]")
    return tmp_path


def told(capsys, *arguments: str) -> dict:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_methods_stand_side_by_side_with_their_evidence(capsys) -> None:
    assert run(["compare", "--model", "wage", "--row", "3", *QUICK]) == 0
    out = capsys.readouterr().out
    assert re.search(r"feature +value +Integrated gradients +DeepLIFT.* +Feature ablation", out)
    assert re.search(r"education +College Grad +\+13", out)
    assert "Mean thousand dollars a year as its 8 columns are replaced by the average person" in out
    assert re.search(r"random order +\d+ \u00b1 [\d.]+ ", out)
    assert "3 of 3" in out
    assert "Agreement: rank correlation" in out


def test_the_numbers_are_those_of_the_library(capsys) -> None:
    page = told(capsys, "compare", *TABLE, "--method", "integrated_gradients", *QUICK, "--seed", "4")
    (evidence,) = page["evidence"]
    assert evidence["parts"] == "its 30 columns"
    assert evidence["unit"] == "probability"
    assert evidence["agreement"] is None
    subject = load_subject("breast-cancer")
    example = subject.read(None, 3)
    made = enodo.explain(subject.model, example.inputs, target=0)
    (found,) = curves(subject.model, example.inputs, made, target=0, steps=4, draws=3, probability=True, seed=4)
    for kind, curve in (("deletion", found.deletion), ("insertion", found.insertion)):
        (one,) = evidence["removals"][0][kind]
        assert one["scores"] == pytest.approx(curve.scores[0].tolist(), abs=1e-6)
        assert one["random_areas"] == pytest.approx(curve.control_area[:, 0].tolist(), abs=1e-6)


def test_sizes_are_compared_where_a_method_has_no_sign(capsys) -> None:
    methods = ["--method", "integrated_gradients", "--method", "vargrad", "--samples", "3"]
    page = told(capsys, "compare", *TABLE, *methods, *QUICK)
    agreement = page["evidence"][0]["agreement"]
    assert agreement["of_sizes"] is True
    sizes = [torch.tensor(e["values"]["value"]).abs() for e in page["explanations"]]
    found = agreement_of(*sizes).correlation.item()
    assert agreement["rank_correlation"][0][1] == pytest.approx(found)
    plain = told(capsys, "compare", *TABLE, *QUICK)["evidence"][0]["agreement"]
    assert plain["of_sizes"] is False


def test_a_category_taken_away_counts_once(capsys) -> None:
    """A feature of five columns is switched off as one; what it is worth is not counted five times."""
    page = told(capsys, "explain", "--model", "wage", "--row", "3", "--method", "feature_ablation")
    (one,) = page["explanations"]
    assert one["options"]["features"] == "its 8 columns"
    subject = load_subject("wage")
    example = subject.read(None, 3)
    columns = [i for i, g in enumerate(example.sample.groups) if g == example.sample.names.index("education")]
    without = example.inputs.clone()
    without[:, columns] = 0
    with torch.no_grad():
        loss = float(subject.model(example.inputs) - subject.model(without))
    assert next(f["attribution"] for f in one["features"] if f["name"] == "education") == pytest.approx(loss, rel=1e-4)


def test_several_answers_are_explained_together(capsys, here) -> None:
    page = told(capsys, "report", *TABLE, "--target", "all", *QUICK)
    assert page["targets"] == [{"index": 0, "name": "malignant"}, {"index": 1, "name": "benign"}]
    assert [e["target"] for e in page["explanations"]] == [0] * 3 + [1] * 3
    assert [e["target"] for e in page["evidence"]] == ["malignant", "benign"]
    alone = told(capsys, "explain", *TABLE, "--target", "benign")["explanations"][0]
    together = page["explanations"][3]["values"]["value"][0]
    assert together == pytest.approx(alone["values"]["value"][0], abs=1e-6)
    html = (here / "report.html").read_text(encoding="utf-8")
    assert "Why \u201cmalignant\u201d and \u201cbenign\u201d?" in html
    assert html.count("Can this be trusted?") == 2
    named = told(capsys, "explain", *TABLE, "--target", "1", "--target", "malignant", "--target", "1")
    assert [t["index"] for t in named["targets"]] == [1, 0]
    twice = told(capsys, "explain", "x.json", "--model", "own.py:plain", "--target", "0", "--target", "-2")
    assert [t["index"] for t in twice["targets"]] == [0]
    assert [t["index"] for t in told(capsys, "explain", *TABLE, "--top", "1")["targets"]] == [0]


def test_a_report_tells_all_in_one_file(capsys, here) -> None:
    sentence = "A <b>slow</b> start, but what an ending."
    assert run(["report", sentence, "--model", "minilm-sentiment", "--out", "r.html", *QUICK]) == 0
    assert capsys.readouterr().out == "r.html\n"
    page = (here / "r.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert page.count('class="curve"') == 4  # two ways of taking words away, two curves each
    for words in ("replaced by a text of masked words only", "the sentence closes up", "Do the methods agree?",
                  "How to read this", "What was run", "To make this page again", "3 random orders do"):  # fmt: skip
        assert words in page
    assert "default-src &#x27;none&#x27;" in page
    assert len(page) < 200_000


def test_a_photo_is_reported_with_curves_and_one_scale(here, capsys) -> None:
    arguments = ["chelsea", "--method", "gradient", "--method", "grad_cam", "--points", "3", "--draws", "2"]
    assert run(["report", *arguments, "--parts", "squares:56", "--removal", "mean", "--out", "p.html"]) == 0
    page = (here / "p.html").read_text(encoding="utf-8")
    assert "cut into 16 squares of 56 \u00d7 56 pixels" in page
    assert "the mean colour of the picture" in page
    assert "Grad-CAM at _swish@1" in page  # the last map of the network, found by itself
    assert len(page) < 1_000_000


def test_each_method_may_have_a_place_of_its_own(capsys, here) -> None:
    own = ["x.json", "--model", "own.py:named", "--target", "yes"]
    page = told(capsys, "explain", *own, "--method", "gradient@1", "--method", "gradient")
    assert [e["wrt"] for e in page["explanations"]] == ["1", "INPUT"]
    assert run(["compare", *own, "--method", "gradient@1", *QUICK]) == 0
    assert "taking away" not in capsys.readouterr().out  # what a layer says is not about parts of the input


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        (None, 9, "its 9 words"), ("tokens", 9, "its 9 tokens"), ("sentences", 1, "its 1 sentences"),
        ("3", 3, "3 blocks of neighbouring values"),
    ],
)  # fmt: skip
def test_parts_of_a_sentence(text, count, words) -> None:
    example = load_subject("minilm-sentiment").read("A slow start, but what an ending.", None)
    found = cut(text, example)
    assert found.words == words
    kept = found.ids[found.ids >= 0]
    assert len(kept.unique()) == count
    assert text == "3" or len(kept) == found.ids.numel() - 2  # [CLS] and [SEP] stay


def test_windows_are_asked_for_in_pixels(capsys) -> None:
    given = ["explain", "chelsea", "--method", "occlusion", "--features"]
    (one,) = told(capsys, *given, "windows:112")["explanations"]
    assert (one["options"]["window"], one["options"]["strides"]) == ([112, 112], 56)
    assert windows(None, load_subject("efficientnet-lite0").read("chelsea", None)) == (32, 16)


def test_superpixels_are_regions_of_the_photo() -> None:
    example = load_subject("efficientnet-lite0").read("chelsea", None)
    found = cut("superpixels:20", example)
    assert found.ids.shape == (1, 1, 224, 224)
    assert 5 < len(found.ids.unique()) <= 40
    assert cut("pixels", example).words == "its 50,176 pixels"


BAD = [
    (["explain", *TABLE, "--top", "2", "--target", "0"], "--top: got 2; expected no --target beside it"),
    (["explain", "--model", "wage", "--top", "2"], "--top"),
    (["explain", "chelsea", "--target", "all"], "Write for example --top 5"),
    (
        ["explain", *TABLE, "--features", "columns"],
        "--features: got 'columns'; expected a method that takes such parts away",
    ),
    (["explain", *TABLE, "--method", "feature_ablation", "--features", "squares"], "for this input one of columns"),
    (["compare", *TABLE, "--parts", "column"], "Did you mean 'columns'?"),
    (["compare", "chelsea", "--parts", "squares:0"], "squares:SIZE with a whole number from 1"),
    (["compare", *TABLE, "--removal", "blur"], "--removal: got 'blur'; expected a number or one of: average"),
    (["compare", *TABLE, "--method", "gradient@9"], "wrt: got '9'"),
    (["report", *TABLE, "--out", "r.png"], "a file name that ends in .html"),
    (["explain", "Well.", "--model", "minilm-sentiment", "--baseline", "dropped"], "methods that take no parts away"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_input_gets_one_sentence(arguments, said, capsys) -> None:
    assert run(arguments) == BAD_INPUT
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
