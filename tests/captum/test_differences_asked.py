"""Deliberate differences from Captum in what can be asked, in the work done and in errors."""

from __future__ import annotations

from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo
import enodo.captum.attr as ours
from tests.captum.compare import close
from tests.captum.models import CASES, CNN, MLP, Text

pytestmark = pytest.mark.filterwarnings("ignore")


def test_unused_input() -> None:
    x = (torch.randn(2, 3), torch.randn(2, 3))
    with pytest.raises(RuntimeError, match="not have been used"):
        theirs.IntegratedGradients(lambda a, b: a.sum(1)).attribute(x)
    first, second = ours.IntegratedGradients(lambda a, b: a.sum(1)).attribute(x)
    close(first, x[0])
    close(second, torch.zeros(2, 3))


def test_layers_in_a_row() -> None:
    model, x = MLP(), torch.randn(2, 5)
    layers = [model.first, model.second]
    with pytest.raises(RuntimeError, match="not have been used"):
        theirs.LayerIntegratedGradients(model, layers).attribute(x, target=0)
    first, second = ours.LayerIntegratedGradients(model, layers).attribute(x, target=0)
    close(first, torch.zeros(2, 7))
    close(second, ours.LayerIntegratedGradients(model, model.second).attribute(x, target=0))


def test_in_place_after_the_layer() -> None:
    case = CASES["cnn"]()
    question = {"inputs": case.inputs, "target": case.target}
    with pytest.raises(RuntimeError, match="in-place"):
        theirs.LayerIntegratedGradients(case.model, case.model.conv1).attribute(**question)
    found = ours.LayerIntegratedGradients(case.model, case.model.conv1).attribute(**question)
    case.model.relu.inplace = False
    close(found, theirs.LayerIntegratedGradients(case.model, case.model.conv1).attribute(**question))


def test_nested_layer_values() -> None:
    lstm, x = nn.LSTM(3, 4, batch_first=True), torch.randn(2, 5, 3)
    score = lambda x: lstm(x)[0].sum((1, 2))  # noqa: E731
    for method in ("LayerActivation", "LayerGradientXActivation"):
        with pytest.raises((AttributeError, AssertionError)):
            getattr(theirs, method)(score, lstm).attribute(x)
    output, (h, c) = ours.LayerActivation(score, lstm).attribute(x)
    expected, (expected_h, expected_c) = lstm(x)
    for a, b in ((output, expected), (h, expected_h), (c, expected_c)):
        close(a, b.detach())
    part = ours.LayerConductance(score, enodo.Point(lstm)[0]).attribute(x, torch.randn(2, 5, 3))
    assert part.shape == (2, 5, 4)


def test_integer_inputs() -> None:
    x = torch.tensor([[1, 2, 3]])
    cubes = lambda x: (x**3).sum(1)  # noqa: E731
    close(theirs.IntegratedGradients(cubes).attribute(x), x.float() ** 3)
    with pytest.raises(ValueError, match=r"inputs: .* which meets no embedding; .* Write x\.float\(\)"):
        ours.IntegratedGradients(cubes).attribute(x)
    close(ours.IntegratedGradients(cubes).attribute(x.float()), x.float() ** 3)
    model = Text(False)
    with pytest.raises(RuntimeError):
        theirs.IntegratedGradients(model).attribute(x, target=0)
    assert ours.IntegratedGradients(model).attribute(x, target=0).shape == x.shape


def test_inputs_of_different_rows() -> None:
    score = lambda a, b: a.sum(1) * b.sum()  # noqa: E731
    a, b = torch.randn(2, 3), torch.randn(3, 3)
    assert len(theirs.Saliency(score).attribute((a, b))) == 2
    with pytest.raises(ValueError, match="the same number of rows"):
        ours.Saliency(score).attribute((a, b))
    reference = theirs.Saliency(score).attribute((a, b))[0]
    close(ours.Saliency(score).attribute(a, additional_forward_args=b), reference)


def test_unbatched_arguments() -> None:
    x, weights = torch.randn(4, 3), torch.randn(3)
    question = {"inputs": x, "additional_forward_args": weights}
    with pytest.raises(RuntimeError, match="must match"):
        theirs.IntegratedGradients(lambda x, w: (x * w).sum(1)).attribute(**question)
    close(ours.IntegratedGradients(lambda x, w: (x * w).sum(1)).attribute(**question), x * weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtype_kept(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3).to(dtype)
    found = [attr.IntegratedGradients(lambda x: x.square().sum(1)).attribute(x) for attr in (theirs, ours)]
    assert [a.dtype for a in found] == [torch.float32, dtype]
    close(found[1].float(), x.float().square(), 1e-2)


def test_statistics_of_ones_own() -> None:
    def own(base: Any) -> Any:
        class Last(base):
            def update(self, x: Tensor) -> None:
                self.value = x

            def get(self) -> Tensor:
                return self.value

        return Last()

    with pytest.raises(KeyError):
        theirs.Summarizer([own(theirs.Mean.__bases__[0])])
    summarizer = ours.Summarizer([own(ours.Stat)])
    summarizer.update(1.0)
    summarizer.update(5.0)
    assert summarizer.summary == {"last": torch.tensor(5.0)}


def test_equal_statistics() -> None:
    names = []
    for attr in (theirs, ours):
        summarizer = attr.Summarizer([attr.Mean("a"), attr.Mean("b")])
        summarizer.update(1.0)
        names.append(sorted(summarizer.summary))
    assert names == [["a"], ["a", "b"]]


def test_labels_in_a_tensor() -> None:
    classes = []
    for attr in (theirs, ours):
        summarizer = attr.ClassSummarizer([attr.Count()])
        summarizer.update(torch.randn(3, 2), torch.tensor([1, 1, 2]))
        classes.append(len(summarizer.class_summaries))
    assert classes == [3, 2]


# ---------------------------------------------------------------- work and errors
@pytest.mark.parametrize("limit", [None, 2])
def test_rows_of_a_pass(limit: int | None) -> None:
    largest = []
    for attr in (theirs, ours):
        rows: list[int] = []

        def score(x: Tensor, rows: list[int] = rows) -> Tensor:
            rows.append(len(x))
            for _ in range(50):  # each keeps its input for the backward pass
                x = x.sin()
            return x.flatten(1).sum(1)

        attr.IntegratedGradients(score).attribute(torch.randn(4, 3, 64, 64), internal_batch_size=limit)
        largest.append(max(rows))
    assert largest[0] == (50 * 4 if limit is None else 4)
    assert largest[1] <= (largest[0] / 2 if limit is None else 2)


def test_no_graph_kept() -> None:
    case = CASES["mlp"]()
    question = {"inputs": case.inputs, "target": 0}
    assert theirs.LayerConductance(case.model, case.model.act).attribute(**question).requires_grad
    assert not ours.LayerConductance(case.model, case.model.act).attribute(**question).requires_grad


BAD: list[tuple[str, type[Exception], str, dict[str, Any]]] = [
    ("IntegratedGradients", AssertionError, "n_steps", {"n_steps": 0}),
    ("IntegratedGradients", AssertionError, "method", {"method": "simpson"}),
    ("IntegratedGradients", IndexError, "target", {"target": 9}),
    ("IntegratedGradients", AssertionError, "target", {"target": [0, 1, 2, 3]}),
    ("IntegratedGradients", AssertionError, "target", {"target": 1.5}),
    ("IntegratedGradients", AssertionError, "target", {"target": None}),
    ("IntegratedGradients", AssertionError, "baselines", {"baselines": torch.zeros(5, 3)}),
    ("GradientShap", AssertionError, "baselines", {"baselines": "zero"}),
    ("GradientShap", Exception, "n_samples", {"baselines": torch.zeros(2, 5), "n_samples": 0}),
    ("GradientShap", Exception, "stdevs", {"baselines": torch.zeros(2, 5), "stdevs": -1.0}),
    ("NeuronGradient", IndexError, "neuron_selector", {"neuron_selector": 9}),
    ("NeuronGradient", AssertionError, "neuron_selector", {"neuron_selector": (0, 1)}),
]


@pytest.mark.parametrize(("name", "error", "argument", "question"), BAD, ids=lambda v: str(v)[:40])
def test_errors_name_the_argument(name: str, error: type[Exception], argument: str, question: dict[str, Any]) -> None:
    model, x = MLP(), torch.randn(3, 5)
    place = [model.act] if name.startswith("Neuron") else []
    question = ({} if place else {"target": 0}) | question
    with pytest.raises(error):
        getattr(theirs, name)(model, *place).attribute(x, **question)
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*: got .*; expected "):
        getattr(ours, name)(model, *place).attribute(x, **question)


@pytest.mark.parametrize(
    ("x", "reason"),
    [([[float("nan"), 1.0]], "NaN or infinity in inputs"), ([[0.0, 1.0]], "points at which the gradient is")],
)
def test_nothing_silent(x: list[list[float]], reason: str) -> None:
    roots = lambda x: x.sqrt().sum(1)  # noqa: E731
    assert not theirs.Saliency(roots).attribute(torch.tensor(x)).isfinite().all()
    with pytest.raises(ValueError, match=reason):
        ours.Saliency(roots).attribute(torch.tensor(x))


@pytest.mark.parametrize("name", ["LayerConductance", "NeuronGradient"])
def test_futures(name: str) -> None:
    model = CNN()
    assert not hasattr(getattr(theirs, name)(model, model.fc), "attribute_future")
    with pytest.raises(NotImplementedError, match=name):
        getattr(ours, name)(model, model.fc).attribute_future()


def test_names_of_deviations() -> None:
    assert (theirs.StdDev(order=2).name, ours.StdDev(order=2).name) == ("std_dev2)", "std_dev(2)")
