"""Each deliberate difference from Captum, proved: Captum's answer, ours, and the closed form where there is one.

A test is named by its row in docs/captum_differences.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo
import enodo.captum.attr as ours
from tests.captum.models import CASES, CNN, MLP, Text

pytestmark = pytest.mark.filterwarnings("ignore")
TABLE = Path(__file__).parents[2] / "docs" / "captum_differences.md"


def test_every_row_has_its_test_and_every_test_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TABLE.read_text(), re.MULTILINE)
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert len(rows) == len(set(rows))
    assert set(rows) == tests - {"every_row_has_its_test_and_every_test_its_row"}


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def double_sum(x: Tensor) -> Tensor:
    return 2 * x.sum(1)


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize("steps", [2, 10, 50])
def test_trapezoid_weights(steps: int) -> None:
    """A linear function: its integrated gradients are w (x - x0)."""
    x = torch.randn(3, 4)
    question = {"inputs": x, "n_steps": steps, "method": "riemann_trapezoid"}
    close(theirs.IntegratedGradients(double_sum).attribute(**question), 2 * x * (steps - 1) / steps)
    close(ours.IntegratedGradients(double_sum).attribute(**question), 2 * x)


def test_neuron_conductance_default() -> None:
    """f = 2 h, h = 3 x: all that changes f flows through h, 6 x."""
    inner, x = nn.Linear(1, 1, bias=False), torch.randn(3, 1)
    nn.init.constant_(inner.weight, 3.0)
    found = [attr.NeuronConductance(lambda x: 2 * inner(x), inner).attribute(x, 0, target=0) for attr in (theirs, ours)]
    close(found[0], 6 * x * 49 / 50)
    close(found[1], 6 * x)


def test_group_conductance() -> None:
    """f = a h_0 + b h_1 with h = W x: through both flow the columns of (a W_0 + b W_1) x."""
    inner, outer = nn.Linear(2, 2, bias=False), torch.tensor([[2.0], [5.0]])
    x, both, rule = torch.randn(3, 2), (slice(0, 2),), {"method": "gausslegendre"}
    found = [
        attr.NeuronConductance(lambda x: inner(x) @ outer, inner).attribute(x, both, target=0, **rule)
        for attr in (theirs, ours)
    ]
    w = inner.weight.detach()
    close(found[0], (2 + 5) * (w[0] + w[1]) * x)
    close(found[1], (2 * w[0] + 5 * w[1]) * x)


def test_layer_input_used_elsewhere() -> None:
    """f = sum(3 x + 7 x), the layer being 3 x: through it flows 3 x."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.layer = nn.Identity(), nn.Linear(2, 2, bias=False)
            self.layer.weight.data = 3 * torch.eye(2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.start(x)
            return (self.layer(h) + 7 * h).sum(1)

    model, x = Residual(), torch.randn(3, 2)
    found = {}
    for attr in (theirs, ours):
        for name in ("LayerGradientXActivation", "LayerIntegratedGradients"):
            explainer = getattr(attr, name)(model, model.layer)
            found[attr, name] = explainer.attribute(x, attribute_to_layer_input=True).detach()
    close(found[theirs, "LayerGradientXActivation"], 10 * x)
    for answer in (
        found[theirs, "LayerIntegratedGradients"],
        found[ours, "LayerIntegratedGradients"],
        found[ours, "LayerGradientXActivation"],
    ):
        close(answer, 3 * x)


def test_nodes_in_float64() -> None:
    """The integral of a cubic is exact with 50 Gauss nodes: x^3."""
    x = torch.randn(5, 3, dtype=torch.float64)
    errors = [
        (attr.IntegratedGradients(lambda x: (x**3).sum(1)).attribute(x) - x**3).abs().max() for attr in (theirs, ours)
    ]
    assert errors[0] > 1e-10
    assert errors[1] < 1e-13


def test_joint_background() -> None:
    """f = (x + y)^2 and a background of pairs (b, -b): mean f = 0 over pairs, 1 over all combinations of two."""
    x, y, b = torch.full((1, 1), 2.0), torch.full((1, 1), 1.0), torch.tensor([[1.0], [-1.0]])
    totals = []
    for attr in (theirs, ours):
        torch.manual_seed(0)
        explainer = attr.GradientShap(lambda x, y: (x + y).square().sum(1))
        totals.append(sum(a.item() for a in explainer.attribute((x, y), (b, -b), n_samples=20000)))
    assert totals[0] == pytest.approx(9 - (4 + 4 + 0 + 0) / 4, abs=0.3)
    assert totals[1] == pytest.approx(9 - 0, abs=0.3)


def test_rows_stand_alone() -> None:
    x, answers = torch.randn(4, 3), {}
    for attr in (theirs, ours):
        explainer = attr.NoiseTunnel(attr.InputXGradient(lambda x: (x**3).sum(1)))
        for rows in (1, 4):
            torch.manual_seed(0)
            answers[attr, rows] = explainer.attribute(x[:rows], nt_samples=3)[0]
    assert not torch.allclose(answers[theirs, 1], answers[theirs, 4])
    close(answers[ours, 1], answers[ours, 4])


def test_smoothed_delta_order() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    deltas = []
    for attr in (theirs, ours):
        explainer = attr.NoiseTunnel(attr.IntegratedGradients(lambda x: (x**3).sum(1)))
        question = {
            "nt_samples": 4,
            "stdevs": 0.0,
            "method": "riemann_left",
            "n_steps": 5,
            "return_convergence_delta": True,
        }
        deltas.append(explainer.attribute(x, nt_samples_batch_size=2, **question)[1])
    first, second = deltas[1][0].item(), deltas[1][4].item()
    close(deltas[0], torch.tensor([first] * 2 + [second] * 2).repeat(2))
    close(deltas[1], torch.tensor([first] * 4 + [second] * 4))


def test_far_from_zero() -> None:
    """Mean and variance of 1000 numbers around 10,000, which float32 holds to 0.001."""
    torch.manual_seed(0)
    xs = [10_000 + torch.randn(3) for _ in range(1000)]
    stacked = torch.stack(xs).double()
    errors, dtypes = [], []
    for attr in (theirs, ours):
        summarizer = attr.Summarizer([attr.Mean(), attr.Var()])
        for x in xs:
            summarizer.update(x)
        mean, variance = summarizer.summary["mean"], summarizer.summary["variance"]
        errors.append([(mean - stacked.mean(0)).abs().max(), (variance - stacked.var(0, correction=0)).abs().max()])
        dtypes.append(variance.dtype)
    assert errors[0][0] > 5e-3 > 1e-3 > errors[1][0]  # 0.0005 is half a step of float32 there
    assert errors[0][1] > 5e-5 > 1e-6 > errors[1][1]
    assert dtypes == [torch.float64, torch.float32]


# ---------------------------------------------------------------- what can be asked
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
