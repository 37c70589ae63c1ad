"""Sentences and table rows: read as the model was trained on them, with the accuracy that is claimed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from enodo.core.errors import BadArgument
from enodo.io import load_subject
from enodo.io.tables import Table, breast_cancer_rows, table_reader, wage_levels, wage_rows
from enodo.io.weights import FOLDER, load_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sentiment():
    return load_subject("minilm-sentiment")


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_weights_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.safetensors")}
    assert set(sizes) == {"minilm_sentiment.safetensors", "breast_cancer.safetensors", "wage.safetensors"}
    assert max(sizes.values()) < 6000


@pytest.mark.parametrize(("text", "answer"), [("A wonderful, moving film.", 1), ("A dull, lazy mess.", 0)])
def test_sentiment_of_plain_sentences(sentiment, text, answer) -> None:
    example = sentiment.read(text, None)
    logits = sentiment.model(example.inputs, **example.kwargs)
    assert logits.shape == (1, 2)
    assert int(logits.argmax()) == answer
    assert example.sample.tokens[0] == "[CLS]"
    assert len(example.sample.tokens) == example.inputs.shape[1]


def test_padding_does_not_change_the_sentiment(sentiment) -> None:
    example = sentiment.read("A joy to watch.", None)
    ids, mask = example.inputs, example.kwargs["attention_mask"]
    padded = torch.nn.functional.pad(ids, (0, 5)), torch.nn.functional.pad(mask, (0, 5))
    assert torch.allclose(sentiment.model(*padded), sentiment.model(ids, mask), atol=1e-5)


def test_text_comes_from_a_sentence_a_file_or_a_line(sentiment, tmp_path) -> None:
    file = tmp_path / "reviews.txt"
    file.write_text("Good.\nBad film.\n", encoding="utf-8")
    assert sentiment.read(str(file), 1).sample.tokens == sentiment.read("Bad film.", None).sample.tokens
    assert sentiment.read(str(file), None).sample.title == "reviews.txt"
    long = sentiment.read("word " * 400, None)
    assert long.inputs.shape == (1, 256)
    assert "first 256 of 402" in long.sample.note


def test_words_that_the_model_does_not_know_are_named(sentiment) -> None:
    """Smileys are one token to it, whatever they say."""
    assert sentiment.read("A \U0001f600 film, \U0001f622 and \U0001f600", None).sample.note == (
        "unknown to the model, all alike: \U0001f600 \U0001f622"
    )
    many = " ".join(chr(0x1F600 + i) for i in range(10))
    assert sentiment.read(many, None).sample.note.endswith("\U0001f607 and 2 more")
    assert sentiment.read("A film.", None).sample.note == ""


def test_token_baselines_keep_the_special_tokens(sentiment) -> None:
    example = sentiment.read("Good film.", None)
    for name, token in (("pad", "[PAD]"), ("mask", "[MASK]")):
        ids, words = sentiment.baseline(name, example)
        assert ids.shape == example.inputs.shape
        assert ids[0, 0] == example.inputs[0, 0]
        assert ids[0, -1] == example.inputs[0, -1]
        assert len(set(ids[0, 1:-1].tolist())) == 1
        assert token.strip("[]").lower()[:3] in words
    assert sentiment.baseline(None, example)[0] is None


def test_bad_text_is_refused(sentiment, tmp_path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00bad")
    (tmp_path / "empty.txt").write_text("  \n")
    cases = [
        (None, None, "nothing"),
        ("  ", None, "empty"),
        ("missing.txt", None, "No such file"),
        ("words", 2, "no rows"),
        (str(tmp_path / "bytes.txt"), None, "UTF-8"),
        (str(tmp_path / "empty.txt"), 9, "line from 0"),
    ]
    for source, row, said in cases:
        with pytest.raises(BadArgument, match=said):
            sentiment.read(source, row)


def test_breast_cancer_has_the_accuracy_it_claims() -> None:
    rows, names = breast_cancer_rows()
    weights, facts = load_weights("breast_cancer")
    table = Table(dict.fromkeys(names), weights["mean"], weights["std"])
    _, held = script("train_table_models").split(len(rows))
    subject = load_subject("breast-cancer")
    x = torch.cat([table.encode(rows[i]) for i in held.tolist()])
    y = torch.tensor([facts["classes"].index(rows[i]["diagnosis"]) for i in held.tolist()])
    right = float((subject.model(x).argmax(1) == y).double().mean())
    assert right == pytest.approx(facts["accuracy"], abs=1e-4)
    assert right > 0.95 > facts["majority"]
    assert f"{right:.1%}" in subject.facts


def test_wage_explains_the_variance_it_claims() -> None:
    rows = wage_rows()
    weights, facts = load_weights("wage")
    table = Table(wage_levels(rows), weights["mean"], weights["std"])
    _, held = script("train_table_models").split(len(rows))
    x = torch.cat([table.encode(rows[i]) for i in held.tolist()])
    y = torch.tensor([[float(rows[i]["wage"])] for i in held.tolist()])
    error = (load_subject("wage").model(x).detach() - y).square().mean()
    assert 1 - float(error / y.var(correction=0)) == pytest.approx(facts["r2"], abs=1e-3)
    assert float(error.sqrt()) == pytest.approx(facts["rmse"], abs=0.01)


def test_zero_is_the_average_row() -> None:
    rows, names = breast_cancer_rows()
    train, _ = script("train_table_models").split(len(rows))
    weights, _ = load_weights("breast_cancer")
    table = Table(dict.fromkeys(names), weights["mean"], weights["std"])
    x = torch.cat([table.encode(rows[i]) for i in train.tolist()])
    assert torch.allclose(x.mean(0), torch.zeros(30), atol=1e-5)
    subject = load_subject("breast-cancer")
    malignant, words = subject.baseline("malignant", subject.read(None, 0))
    assert words == "the average malignant tumour"
    assert subject.model(malignant).argmax() == 0


def test_a_category_fills_its_columns() -> None:
    table = Table({"age": None, "job": ["a", "b", "c"]}, torch.zeros(4), torch.ones(4))
    assert table.groups == [0, 1, 1, 1]
    assert table.encode({"age": "40", "job": "b"}).tolist() == [[40.0, 0.0, 1.0, 0.0]]
    for row, said in (
        ({"age": "old", "job": "a"}, "a number"),
        ({"age": "nan", "job": "a"}, "a number"),
        ({"age": "1", "job": "d"}, "one of a, b, c"),
    ):
        with pytest.raises(BadArgument, match=said):
            table.encode(row)


def test_rows_of_a_csv_file(tmp_path) -> None:
    subject = load_subject("breast-cancer")
    rows, names = breast_cancer_rows()
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([",".join(names), *(",".join(rows[i][n] for n in names) for i in (3, 7))]))
    assert torch.equal(subject.read(str(file), 1).inputs, subject.read(None, 7).inputs)
    assert subject.read(str(file), 1).sample.truth is None
    assert subject.read(None, 7).sample.truth == rows[7]["diagnosis"]
    file.write_text("mean radius,mean textur\n1,2\n")
    with pytest.raises(BadArgument, match=r"mean texture.*Did you mean 'mean textur'"):
        subject.read(str(file), 0)
    with pytest.raises(BadArgument, match="a row from 0 to 568"):
        subject.read(None, 569)


def test_a_csv_file_of_a_spreadsheet(tmp_path) -> None:
    """Semicolons between cells; rows that are too short or lack a value are refused by their column."""
    table = Table({"a": None, "b": None}, torch.zeros(2), torch.ones(2))
    read = table_reader(table, [], "mine")
    file = tmp_path / "rows.csv"
    file.write_text("a;b;note\n1;2;x, y\n3;;\n4\n")
    assert read(str(file), 0).inputs.tolist() == [[1, 2]]
    for row in (1, 2):
        with pytest.raises(BadArgument, match=r"column 'b': got nothing in this row"):
            read(str(file), row)
    for text, said in (
        ("a,b\n", "without a row"),
        ("a,b\n1,2,5\n", "row 0 has more than the 2 cells"),
        ("a,b,b\n1,2,3\n", "several columns 'b'"),
    ):
        file.write_text(text)
        with pytest.raises(BadArgument, match=said):
            read(str(file), 0)


def test_a_row_for_a_baseline_is_one_of_the_same_file(tmp_path) -> None:
    subject = load_subject("breast-cancer")
    rows, names = breast_cancer_rows()
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([",".join(names), *(",".join(rows[i][n] for n in names) for i in (3, 7))]))
    for example, expected in ((subject.read(str(file), 0), 7), (subject.read(None, 3), 1)):
        found, words = subject.baseline("row:1", example)
        assert torch.equal(found, subject.read(None, expected).inputs)
        assert words == "row 1 of the same data"
