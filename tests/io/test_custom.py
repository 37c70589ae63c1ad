"""Models of one's own: a file, a package, a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import enodo
from enodo.core.errors import BadArgument, EnodoError
from enodo.io import load_subject
from enodo.io.custom import subject_of
from enodo.io.packages import MissingPackage, need
from enodo.io.tensors import tensor_reader

FILE = """
import torch
from torch import nn
def plain(): return nn.Linear(3, 2).train()
def flat(size): return nn.Sequential(nn.Flatten(), nn.Linear(size, 2))
def image(): return flat(192), {"size": (8, 8), "classes": ["dog", "cat"], "std": (128.0,) * 3}
def grey(): return flat(64), {"kind": "image", "size": (8, 8), "grey": True}
def table(): return nn.Linear(2, 1), {"features": ["age", "weight"], "mean": [40, 70], "std": [10, 20], "unit": "kg"}
def wrong(): return 3
def odd(): return nn.Linear(1, 1), {"clases": ["a"]}
def text(): return nn.Linear(1, 1), {"kind": "text"}
def breaks(): raise RuntimeError("no weights here")
def leaves(): raise SystemExit(3)
not_callable = 7
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "own_models.py"
    path.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return path


def test_a_module_takes_numbers(file, tmp_path) -> None:
    subject = load_subject("own_models.py:plain")
    assert subject.kind == "tensor"
    assert not subject.model.training
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(2, 3))
    (tmp_path / "x.csv").write_text("a,b,c\n0,1,2\n3,4,5\n")
    (tmp_path / "x.json").write_text(json.dumps([[0, 1, 2], [3, 4, 5]]))
    for name in ("x.npy", "x.csv", "x.json"):
        example = subject.read(name, 1)
        assert example.inputs.tolist() == [[3.0, 4.0, 5.0]]
        assert example.sample.names == (["a", "b", "c"] if name == "x.csv" else ["0", "1", "2"])
    np.save(tmp_path / "one.npy", np.arange(3.0))
    assert subject.read("one.npy", None).inputs.tolist() == [[0.0, 1.0, 2.0]]


def test_a_module_may_stand_in_the_file_itself(file) -> None:
    file.write_text(FILE + "\nmade = plain()\n")
    assert load_subject("own_models.py:made").kind == "tensor"


def test_a_file_is_also_found_as_a_module(file) -> None:
    assert load_subject("own_models:plain").kind == "tensor"


def test_facts_make_an_image_or_a_table_model(file, tmp_path) -> None:
    Image.new("RGB", (20, 20), (128, 128, 128)).save(tmp_path / "p.png")
    image = load_subject(f"{file}:image")
    assert image.classes == ["dog", "cat"]
    assert torch.equal(image.read("p.png", None).inputs, torch.ones(1, 3, 8, 8))
    grey = load_subject(f"{file}:grey").read("p.png", None)
    assert grey.inputs.shape == (1, 1, 8, 8)
    assert grey.sample.photo.shape == (8, 8, 3)
    table = load_subject(f"{file}:table")
    (tmp_path / "t.csv").write_text("weight,age\n90,50\n")
    assert table.read("t.csv", 0).inputs.tolist() == [[1.0, 1.0]]
    assert table.unit == "kg"
    assert table.baseline(None, table.read("t.csv", 0)) == (None, "the average row")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("own_models.py:plan", "Did you mean 'plain'"),
        ("own_models.py:not_callable", "a function"),
        ("own_models.py:wrong", "which returned 3"),
        ("own_models.py:odd", "Did you mean 'classes'"),
        ("own_models.py:text", "Subject"),
        ("own_models.py:breaks", "RuntimeError: no weights here"),
        ("own_models.py:leaves", "SystemExit: 3"),
        ("missing.py:model", "No such file"),
        ("missing_package:model", "No module named"),
        ("efficientnet", "Did you mean 'efficientnet-lite0'"),
        (".", "a folder with a text classifier"),
    ],
)
def test_errors_name_what_was_given(file, spec, said) -> None:
    with pytest.raises(EnodoError, match=said):
        load_subject(spec)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "a,b\n1,two\n", "numbers"),
        ("x.json", "{", "numbers"),
        ("x.json", '"words"', "numbers"),
        ("x.csv", "", "empty"),
        ("x.csv", "a,b\n", "at least one row"),
        ("x.json", "[]", "at least one row"),
        ("x.csv", "1,2,3\n4,5\n", r"at row 2\.$"),
        ("x.csv", "1,,3\n4,5,6\n", "first line has '1,,3'"),
        ("x.csv", "1,n/a,3\n4,5,6\n", "numbers alone, or names alone"),
        ("x.json", "[" * 100_000, "recursion"),
        ("x.json", f"[[1, {10**400}]]", "too large"),
    ],
)
def test_files_without_numbers_are_refused(tmp_path, name, content, said) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadArgument, match=said):
        tensor_reader(str(tmp_path / name), None)


def test_columns_have_the_names_of_the_first_line(tmp_path) -> None:
    (tmp_path / "x.csv").write_text('age;"size; cm"\n1;2\n')
    assert list(tensor_reader(str(tmp_path / "x.csv"), 0).sample.names) == ["age", "size; cm"]
    (tmp_path / "x.csv").write_text('"1990","1991"\n1,2\n')
    assert list(tensor_reader(str(tmp_path / "x.csv"), 0).sample.names) == ["1990", "1991"]
    (tmp_path / "x.csv").write_text("3,4\n1,2\n")
    assert list(tensor_reader(str(tmp_path / "x.csv"), 1).sample.names) == ["0", "1"]


def test_a_picture_for_a_model_of_plain_numbers_ends_in_what_to_write(tmp_path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(BadArgument, match=r'return model, \{"size": \(224, 224\)\}'):
        tensor_reader(str(tmp_path / "x.png"), None)


def test_numbers_of_any_kind_are_read(tmp_path) -> None:
    for kind in (">f4", "longdouble", "float16", ">i2"):
        np.save(tmp_path / "x.npy", np.array([[1, 2], [3, 4]], dtype=kind))
        assert tensor_reader(str(tmp_path / "x.npy"), 1).inputs.tolist() == [[3, 4]]
    np.savez(tmp_path / "x.npz", first=np.ones(2))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(BadArgument, match="It holds first"):
        tensor_reader(str(tmp_path / "x.npy"), None)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"features": ["a", "b"], "mean": [0.0]}, "'mean' of 1 and 'std' of 2 columns; expected a number for each"),
        ({"features": ["a", "b"], "std": [1.0, 0.0]}, "'std' as .*numbers above 0"),
        ({"features": 3}, "'features' as 3; expected a list of names"),
        ({"classes": "cat"}, "'classes' as 'cat'"),
        ({"size": 32}, r"'size' as 32; expected \(height, width\)"),
    ],
)
def test_facts_that_make_no_sense_are_refused(facts, said) -> None:
    with pytest.raises(BadArgument, match=said):
        subject_of(nn.Linear(2, 2), facts, "mine")


def test_pickles_in_npy_files_are_not_opened(tmp_path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadArgument, match="numbers"):
        tensor_reader(str(tmp_path / "evil.npy"), 0)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingPackage, match=r"nowhere-1, which is not installed; write: pip install 'enodo\[demo\]'"):
        need("nowhere_module", "nowhere-1", "model 'x'")


def test_a_saved_text_classifier(tmp_path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    from enodo.io.sentiment import minilm

    tokenizer = minilm()[1]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=3, id2label={0: "sport", 1: "news", 2: "art"}, label2id={"sport": 0, "news": 1, "art": 2},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(BadArgument, match=r"It has no tokenizer: save it there too"):
        load_subject(str(tmp_path))  # transformers makes one of the model's type alone, that knows no word
    tokenizer.save_pretrained(tmp_path)
    subject = load_subject(str(tmp_path))
    assert list(subject.classes) == ["sport", "news", "art"]
    example = subject.read("A goal in the last minute!", None)
    assert example.put_to(subject.model)["logits"].shape == (1, 3)
    answer = enodo.explain(subject.model, example.inputs, kwargs=example.kwargs, target=subject.class_index("art"))
    assert answer.shape == example.inputs.shape
    assert abs(float(answer.delta)) < 1e-3
