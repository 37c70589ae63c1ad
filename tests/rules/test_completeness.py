"""DeepLIFT's claim, in float64 from random baselines: the attributions of a row sum to f(x) - f(x0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal
from tests.rules.nets import ACTIVATIONS, FUNCTIONS, SEQUENCES, Residual, settled

TOL = 1e-6  # of the difference of the scores


def need_complete(model: Any, x: Any, x0: Any, **question: Any) -> None:
    """Complete, of the scores that the model has without rules."""
    asked = enodo.ask(model, x, baseline=x0, **{key: term for key, term in question.items() if key != "rule"})
    plain = [asked.scores.detach(), asked.baseline_scores.detach()]
    for size in ("auto", 1):
        found = enodo.explain(model, x, "deeplift", baseline=x0, batch_size=size, **question)
        change = found.scores - found.baseline_scores
        torch.testing.assert_close([found.scores, found.baseline_scores], plain)
        assert change.abs().min() > 1e-6, "the question has to be one with an answer"
        assert (found.delta.abs() <= TOL * change.abs()).all(), (found.delta / change).tolist()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    layers = nn.Linear(5, 6), ACTIVATIONS[name](), nn.Linear(6, 6), ACTIVATIONS[name](), nn.Linear(6, 3)
    need_complete(settled(nn.Sequential(*layers)), normal(4, 5), normal(4, 5, seed=1), target=1)


def test_no_activation_of_torch_is_left_out() -> None:
    known = {type(ACTIVATIONS[name]()).__name__ for name in ACTIVATIONS} | {"GLU"}
    apart = {"MultiheadAttention", "Softmax2d"}  # among SEQUENCES; a softmax
    assert set(nn.modules.activation.__all__) <= known | apart


def test_a_softmin_that_is_told_no_dimension() -> None:
    with pytest.warns(UserWarning, match="Implicit dimension"):
        need_complete(lambda x: nn.functional.softmin(x)[:, 1], normal(4, 5), normal(4, 5, seed=1))


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "Softmin", "LayerNorm", "Sigmoid"])
def test_as_the_output(name: str) -> None:
    model = settled(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), ACTIVATIONS[name]()))
    need_complete(model, normal(4, 5), normal(4, 5, seed=1), target=1)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "extremes"])
def test_functions(name: str) -> None:
    need_complete(FUNCTIONS[name], normal(3, 4, 6), normal(3, 4, 6, seed=1))


def test_extremes_of_one_row() -> None:  # x.max() looks at the whole batch, so a batch of one
    need_complete(FUNCTIONS["extremes"], normal(1, 4, 6), normal(1, 4, 6, seed=1))


@pytest.mark.parametrize("name", [n for n in SEQUENCES if "packed" not in n])
def test_sequences(name: str) -> None:
    need_complete(settled(SEQUENCES[name]()), normal(3, 4, 6), normal(3, 4, 6, seed=1))


@pytest.mark.parametrize("name", ["packed LSTM", "packed GRU"])
def test_packed_sequences(name: str) -> None:
    model = settled(SEQUENCES[name]())
    found = enodo.explain(model, normal(3, 4, 6), "deeplift", baseline=normal(3, 4, 6, seed=1))
    assert found.delta.abs().max() <= TOL * (found.scores - found.baseline_scores).abs().min()
    torch.testing.assert_close(found.scores, model(normal(3, 4, 6)).detach())
    assert found.values[1, 2:].abs().max() == 0  # beyond the end of the second sequence


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize(
    "question", [{}, {"wrt": "deep"}, {"of": "wide", "target": (1, 2, 2)}], ids=["inputs", "layer", "neuron"]
)
def test_residual_networks(squeeze: bool, question: dict[str, Any]) -> None:
    x, x0 = normal(3, 2, 8, 8), normal(3, 2, 8, 8, seed=1)
    if question.get("wrt"):  # the residual flows around the layer, so that the layer carries a part of the change
        found = enodo.explain(settled(Residual(squeeze)), x, "deeplift", baseline=x0, target=1, **question)
        assert torch.isfinite(found.tensor).all()
        return
    need_complete(settled(Residual(squeeze)), x, x0, **{"target": 1, **question})


def test_several_targets_at_once() -> None:
    model, x, x0 = settled(Residual(True)), normal(3, 2, 8, 8), normal(3, 2, 8, 8, seed=1)
    found = enodo.explain(model, x, "deeplift", baseline=x0, target="all")
    assert found.tensor.shape == (3, 3, 2, 8, 8)
    assert (found.delta.abs() <= TOL * (found.scores - found.baseline_scores).abs()).all()


def test_close_to_the_baseline_it_is_the_gradient() -> None:
    model, x = settled(Residual(True)), normal(3, 2, 8, 8)
    found = enodo.explain(model, x, "deeplift", baseline=x - 1e-9, target=1, multiply=False)
    slope = enodo.explain(model, x, "gradient", target=1)
    torch.testing.assert_close(found.tensor, slope.tensor, atol=1e-6, rtol=1e-5)


def _spellings() -> dict[str, Callable[[Tensor], Tensor]]:
    relu = nn.ReLU(inplace=True)
    return {
        "F.relu": nn.functional.relu,
        "torch.relu": torch.relu,
        "method": lambda t: t.relu(),
        "in place": lambda t: t.relu_(),
        "in place, answer ignored": lambda t: (t.relu_(), t)[1],
        "argument inplace": lambda t: (nn.functional.relu(t, inplace=True), t)[1],
        "module": relu,
        "clamp": lambda t: t.clamp(min=0),
        "clamp_": lambda t: (t.clamp_(0), t)[1],
        "maximum": lambda t: torch.maximum(t, torch.zeros(())),
        "where": lambda t: torch.where(t > 0, t, 0.0),
        "masked_fill_": lambda t: (t.masked_fill_(t < 0, 0.0), t)[1],
        "on a view": lambda t: (t[:, :3].relu_(), t[:, 3:].relu_(), t)[2],
    }


@pytest.mark.parametrize("name", _spellings())
def test_one_function_in_every_spelling(name: str) -> None:
    first, second = settled(nn.Linear(5, 6)), settled(nn.Linear(6, 6))
    relu = _spellings()[name]

    def model(act: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: act(second(act(first(x)))).sum(1)

    x, x0 = normal(4, 5), normal(4, 5, seed=1)
    ours, true = (enodo.explain(model(act), x, "deeplift", baseline=x0).tensor for act in (relu, torch.relu))
    torch.testing.assert_close(ours, true, atol=1e-12, rtol=1e-12)


def test_a_quotient_is_the_product_that_it_solves() -> None:
    """From 1/1 to 6/3: 5 * 2/(3 + 1) of the numerator, -2 * (2 + 1)/(3 + 1) of the denominator."""
    x, x0 = torch.tensor([[6.0, 3.0]]), torch.ones(1, 2)
    found = enodo.explain(lambda x: x[:, 0] / x[:, 1], x, "deeplift", baseline=x0)
    torch.testing.assert_close(found.tensor, torch.tensor([[2.5, -1.5]]))
    need_complete(lambda x: x[:, 0] / x[:, 1], torch.tensor([[6.0, -3.0]]).double(), x0.double())


def test_a_direction_from_the_zero_vector() -> None:
    """F.normalize divides by 1e-12 there, in float32: what goes to the length takes nothing away by rounding."""
    x, weights = normal(3, 8).float(), normal(8, seed=1).float()
    found = enodo.explain(lambda x: (nn.functional.normalize(x, dim=1) * weights).sum(1), x, "deeplift")
    assert (found.delta.abs() < 1e-5).all()
    assert found.tensor.abs().max() < 10
