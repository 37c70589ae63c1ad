"""Attributions under rules with create_graph=True: their derivatives are those of finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing.models import normal
from tests.rules.nets import ACTIVATIONS, FUNCTIONS, SEQUENCES, Residual, settled

STEP = 1e-6
# torch itself does not differentiate their gradients
NOT_TWICE = {("guided_backprop", "Hardsigmoid"), ("guided_backprop", "in place")}
COMPOSITES = (
    "zero epsilon gamma epsilon_gamma epsilon_plus epsilon_plus_flat epsilon_alpha2_beta1 epsilon_alpha2_beta1_flat"
    " alpha1_beta0 deep_taylor excitation_backprop cp"
).split()


def need_derivatives(model: Callable[[Tensor], Tensor], x: Tensor, method: str, **question: Any) -> None:
    """Along one direction of the inputs and of the parameters, of a sum of attributions that tells them apart."""
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    places = [x := x.clone().requires_grad_(), *parameters]
    ways = [normal(*t.shape, seed=number + 20) for number, t in enumerate(places)]

    def total(**more: Any) -> Tensor:
        found = enodo.explain(model, x, method, **question, **more).tensor
        return (found * normal(*found.shape, seed=9)).sum()

    now = total(create_graph=True)
    assert torch.allclose(now, total())
    slopes = torch.autograd.grad(now, places, allow_unused=True)
    for place, way, slope in zip(places, ways, slopes, strict=True):
        found = 0.0 if slope is None else float((slope * way).sum())
        with torch.no_grad():
            place.add_(way, alpha=STEP)
            above = total()
            place.sub_(way, alpha=2 * STEP)
            below = total()
            place.add_(way, alpha=STEP)
        assert found == pytest.approx(float((above - below) / (2 * STEP)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("method", ["deeplift", "lrp", "guided_backprop"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, method: str) -> None:
    if (method, name) in NOT_TWICE:
        pytest.skip("torch has no second derivative of it")
    question = {"baseline": normal(3, 5, seed=1)} if method == "deeplift" else {}
    model = settled(nn.Sequential(nn.Linear(5, 6), ACTIVATIONS[name](), nn.Linear(6, 3)))
    need_derivatives(model, normal(3, 5), method, target=1, **question)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_composites(composite: str) -> None:
    need_derivatives(settled(Residual(True)), normal(1, 2, 8, 8), "lrp", target=1, composite=composite)


@pytest.mark.parametrize("question", [{"method": "deeplift"}, {"method": "deeplift", "rule": "reveal_cancel"},
                                      {"method": "guided_backprop"}, {"method": "deconvolution"}])  # fmt: skip
def test_residual_networks(question: dict[str, Any]) -> None:
    need_derivatives(settled(Residual(True)), normal(1, 2, 8, 8), target=1, **question)


@pytest.mark.parametrize("method", ["deeplift", "lrp"])
@pytest.mark.parametrize("name", ["powers", "pairs", "choices", "lengths", "masked attention", "pools", "resized"])
def test_functions(name: str, method: str) -> None:
    need_derivatives(FUNCTIONS[name], normal(2, 4, 6), method)


@pytest.mark.parametrize("name", ["GRU", "GELU block, norm first"])
def test_sequences(name: str) -> None:
    need_derivatives(settled(SEQUENCES[name]()), normal(2, 4, 6), "lrp")


@pytest.mark.parametrize("method", ["lrp", "guided_backprop"])
def test_what_is_linear_after_a_rule_has_true_values(method: str) -> None:
    """Backward passes of pools and convolutions return zeros for the values they keep, which no rule is to be given."""
    weight = normal(3, 4, 3, seed=3)

    def model(x: Tensor) -> Tensor:
        return F.conv1d(x.relu(), weight).exp().sum((1, 2)) + F.adaptive_avg_pool1d(x.relu().exp(), 3).sum((1, 2))

    need_derivatives(model, normal(2, 4, 6), method, **({"composite": "zero"} if method == "lrp" else {}))
