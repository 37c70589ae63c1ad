"""A call that the model does not take: the remedy that is named was tried, and the model's own faults stay its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.core import remedies

table = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
pictures = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 2)).eval()
x = torch.linspace(-1, 1, 20).view(5, 4)
picture = torch.linspace(0, 1, 3 * 8 * 8).view(3, 8, 8)


class Person(nn.Module):
    """A model of two named inputs."""

    def forward(self, age: Tensor, job: Tensor) -> Tensor:
        return torch.stack([age.sum(1), job.sum(1)], 1)


class Wrapped(nn.Module):
    """A model that takes its inputs in one dict."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return table(batch["x"])


class Detector(nn.Module):
    """A model of a list of pictures, which answers a list of dicts, as those of torchvision do."""

    def forward(self, images: list[Tensor], targets: Any = None) -> list[dict[str, Tensor]]:
        for image in images:
            if image.ndim != 3:
                raise ValueError(f"images is expected to be a list of 3d tensors, got {image.shape}")
        if targets is not None:
            raise AttributeError("'Tensor' object has no attribute 'items'")
        return [{"scores": image.flatten(1).mean(1).repeat(2)} for image in images]


CASES: dict[str, tuple[Any, Any, str]] = {
    "other numbers": (table, x.double(), "torch.as_tensor(x, dtype=torch.float32)"),
    "of numpy": (table, x.double().numpy(), "torch.as_tensor(x, dtype=torch.float32)"),
    "whole numbers": (table, x.long(), "dtype=torch.float32"),
    "bytes": (pictures, (picture[None] * 255).byte(), "dtype=torch.float32"),
    "ids as floats": (words, torch.ones(2, 5), "torch.as_tensor(x, dtype=torch.long)"),
    "one row": (table, x[0], "x[None]"),
    "one row of other numbers": (table, x[0].double(), "torch.as_tensor(x, dtype=torch.float32)[None]"),
    "one picture": (pictures, picture, "x[None]"),
    "channels last": (pictures, picture.permute(1, 2, 0)[None], "x.permute(0, 3, 1, 2)"),
    "one picture, channels last": (pictures, picture.permute(1, 2, 0), "x.permute(2, 0, 1)[None]"),
    "labels beside": (table, (x, torch.zeros(5)), "inputs[0]"),
    "a list of pictures": (Detector().eval(), [picture, picture], "torch.stack(inputs)"),
    "a list of one picture": (Detector().eval(), [picture], "torch.stack(inputs)"),
    "a list of pictures of other sizes": (Detector().eval(), [picture, picture[:, :5]], "inputs[0][None]"),
    "a picture to find things in": (Detector().eval(), picture, "x[None]"),
    "a dict in one argument": (Wrapped().eval(), {"x": x}, "(inputs,)"),
    "an argument that lacks": (Person().eval(), {"age": x}, "age, job"),
    "an argument misspelt": (Person().eval(), {"age": x, "jop": x}, "age, job"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "feature_ablation"])
def test_what_the_model_does_not_take(name: str, method: str) -> None:
    model, inputs, said = CASES[name]
    with pytest.raises(enodo.BadArgument) as refused:
        enodo.explain(model, inputs, method, target=1)
    assert said in str(refused.value)
    if refused.value.argument != "target":  # a layer that takes one row by itself, so that only the answer is another
        assert refused.value.argument == "inputs"
        assert isinstance(refused.value.__cause__, Exception)


@pytest.mark.parametrize("method", ["gradient", "feature_ablation"])
def test_what_is_found_in_pictures(method: str) -> None:
    def best(found: list[dict[str, Tensor]]) -> Tensor:
        return torch.stack([each["scores"].max() for each in found])

    x = torch.stack([picture, 2 * picture.flip(0)])
    found = enodo.explain(Detector().eval(), x, method, target=best)
    expected = torch.zeros_like(x)
    expected[0, 2], expected[1, 0] = 1 / 64, 1 / 64  # the mean of the brightest channel
    torch.testing.assert_close(found.tensor, expected if method == "gradient" else found.tensor)
    assert bool((found.tensor[expected == 0] >= 0).all())
    with pytest.raises(enodo.BadArgument, match=r"3 rows.*torch\.stack"):
        enodo.explain(Detector().eval(), ([picture, picture],), method, target=best)


def test_a_model_that_fails_is_asked_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def broken(*given: Any) -> Tensor:
        calls.append(given)
        raise RuntimeError("broken")

    pair = [torch.ones(2, 3, 4, 3, dtype=torch.float64)] * 2
    with pytest.raises(RuntimeError, match="broken") as met:
        enodo.explain(broken, pair, "gradient")
    assert len(calls) == 1 + 2 + remedies.TRIES  # as given, of one row and of two, and with changes
    assert any("Not tried" in note and "dtype=torch.long" in note for note in met.value.__notes__)
    calls.clear()
    monkeypatch.setattr(remedies, "SECONDS", -1.0)  # as if the first call had taken long
    with pytest.raises(RuntimeError, match="broken"):
        enodo.explain(broken, pair, "gradient")
    assert len(calls) == 3


def test_arguments_that_are_missing_are_no_matter_of_numbers() -> None:
    calls = []

    def picky(x: Tensor, y: Tensor) -> Tensor:
        calls.append(x)
        return x

    with pytest.raises(enodo.BadArgument, match="x, y"):
        enodo.explain(picky, torch.ones(2, 3).double(), "gradient")
    assert not calls


@pytest.mark.parametrize("method", ["gradient", "kernel_shap"])
def test_a_fault_of_the_model_is_told_as_it_is(method: str) -> None:
    def broken(x: Tensor) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        enodo.explain(broken, x, method, target=1)


class Deep(nn.Module):
    """Code of its own around a layer of torch's, and a step that is its own."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns, self.inner = columns, nn.ModuleDict({"head": nn.LayerNorm(4)})

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == self.columns:
            raise RuntimeError("mine")
        answer: Tensor = self.inner["head"](2 * x)
        return answer


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "kernel_shap"])
def test_the_layer_that_fails_is_named(method: str) -> None:
    model = Deep(columns=6).eval()
    with pytest.raises(enodo.BadArgument) as met:
        enodo.explain(model, torch.ones(2, 5), method, target=1)
    told = str(met.value)
    assert "inputs: got a float32 tensor of shape (2, 5), which the model does not take" in told
    assert "inner.head, LayerNorm((4,)" in told
    assert "is handed a float32 tensor of shape (2, 5)" in told
    assert isinstance(met.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="mine"):
        enodo.explain(model, torch.ones(2, 6), method, target=1)


def only(rows: int) -> Any:
    """A model that answers one number of rows."""

    def model(x: Tensor) -> Tensor:
        if len(x) != rows:
            raise AssertionError(len(x))
        answer: Tensor = table(x)
        return answer

    return model


@pytest.mark.parametrize(("answered", "given"), [(1, 1), (1, 5), (5, 5)])
@pytest.mark.parametrize("method", ["integrated_gradients", "smoothgrad", "kernel_shap", "feature_ablation"])
def test_a_model_of_one_number_of_rows(method: str, answered: int, given: int) -> None:
    found = enodo.explain(only(answered), x[:given], method, target=1)
    plain = enodo.explain(table, x[:given], method, target=1)
    assert torch.allclose(found.tensor, plain.tensor, atol=1e-5)
    assert any(f"batch_size={answered}" in note for note in found.notes)


@pytest.mark.parametrize("more", [{}, {"batch_size": 5}])
def test_what_is_measured_row_by_row(more: Any) -> None:
    """What constants take of the relevance of each row, of a model that answers no row alone."""
    found = enodo.explain(only(5), x, "lrp", target=1, balance=True, **more)
    plain = enodo.explain(table, x, "lrp", target=1, balance=True)
    for name, share in plain.details.items():
        torch.testing.assert_close(found.details[name], share)


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift_shap", "kernel_shap", "feature_ablation"])
@pytest.mark.parametrize("target", [1, "predicted", lambda out: out[:, 1]])
def test_a_model_that_reads_the_first_row_alone(method: str, target: Any) -> None:
    """As the wrapper of a network on one graph does."""
    background = {"baseline": x[1:4]} if method == "deeplift_shap" else {}
    found = enodo.explain(lambda x: table(x[0])[None], x[:1], method, target=target, **background)
    plain = enodo.explain(table, x[:1], method, target=target, **background)
    assert torch.allclose(found.tensor, plain.tensor, atol=1e-5)
    assert method == "deeplift_shap" or any("batch_size=1" in note for note in found.notes)
    with pytest.raises(enodo.BadArgument, match="target"):
        enodo.explain(lambda x: table(x[0])[None], x[:3], method, target=target, **background)


def test_a_number_of_rows_that_it_does_not_answer() -> None:
    with pytest.raises(enodo.BadArgument, match="batch_size: got 10; expected 5, the only number of rows"):
        enodo.explain(only(5), x, batch_size=10, target=1)


def test_an_exported_model() -> None:
    program = torch.export.export(table, (x[:1],))
    for model in (program, program.module()):
        found = enodo.explain(model, x, target=1)
        assert torch.allclose(found.tensor, enodo.explain(table, x, target=1).tensor, atol=1e-5)


def outside(x: Any) -> np.ndarray[Any, Any]:
    """A model that computes in numpy, as those of scikit-learn do."""
    return np.tanh(np.asarray(x)) @ np.ones((4, 3))


def test_a_model_that_answers_arrays() -> None:
    found = enodo.explain(outside, x, "exact_shapley", target=1)
    assert torch.allclose(found.tensor, torch.tanh(x).to(found.tensor.dtype), atol=1e-6)
    with pytest.raises(enodo.BadArgument, match=r"method: got a model that fails .*kernel_shap"):
        enodo.explain(outside, x, target=1)
