"""Paths other than the straight one: IDGI, guided IG, Blur IG, against closed forms and plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing import LAWS, Case, Trial
from enodo.testing.models import normal, seeded
from tests.methods.models import Mlp, Squares, brute_force, tensor, uniform


# ---------------------------------------------------------------- IDGI
def test_idgi_shares_each_step_by_squares() -> None:
    """Of x^2 + 2 y^2 from (0, 0) to (1, 1), the step from a to b has gradient (2a, 4a): one fifth is x's."""
    found = enodo.explain(
        lambda x: (x**2 * torch.tensor([1.0, 2.0])).sum(1), torch.ones(2, 2).double(), "idgi", steps=10,
        baseline=0.5,
    )  # fmt: skip
    assert found.delta is not None
    assert found.delta.abs().max() < 1e-12
    torch.testing.assert_close(found.tensor, torch.tensor([[0.45, 1.8]]).expand(2, 2).double())


def test_idgi_is_complete_after_two_steps_and_with_targets_apart() -> None:
    model, x = Mlp(), uniform(5, 4)
    found = enodo.explain(model, x, "idgi", steps=2, target="all", batch_size=3, baseline=0.1)
    torch.testing.assert_close(found.tensor.sum(2), found.scores - found.baseline_scores)
    torch.testing.assert_close(found.scores, model(x).T.detach())
    torch.testing.assert_close(found.baseline_scores, model(0 * x + 0.1).T.detach())
    for t in range(3):
        torch.testing.assert_close(found.tensor[t], tensor(model, x, "idgi", steps=2, target=t, baseline=0.1))


def test_a_step_from_a_flat_place_is_reported_as_a_gap() -> None:
    found = enodo.explain(lambda x: (x**2).sum(1), torch.ones(1, 2).double(), "idgi", steps=4)
    assert found.delta is not None
    torch.testing.assert_close(found.delta, torch.tensor([-2 / 16]).double())  # the first step, whose gradient is zero


# ---------------------------------------------------------------- guided IG
def by_the_algorithm(score: Any, x: Tensor, x0: Tensor, steps: int, fraction: float, distance: float) -> Tensor:
    """Guided IG of one row (F,), value by value, in a plain loop; a step is credited the mean gradient of its ends."""

    def gradient(at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        return torch.autograd.grad(score(at[None])[0], at)[0]

    now, total, g = x0.clone(), torch.zeros_like(x), gradient(x0)
    size, whole = math.ceil(fraction * len(x)), (x - x0).abs().sum()
    for step in range(1, steps + 1):
        before, alpha = now.clone(), step / steps
        low, high = (x0 + min(max(alpha + d, 0), 1) * (x - x0) for d in (-distance, distance))
        for i in range(len(x)):
            if abs(now[i] - x0[i]) < abs(low[i] - x0[i]):
                now[i] = low[i]
        queue = sorted(range(len(x)), key=lambda i: abs(g[i].item()))
        queue = [i for i in queue if abs(high[i] - x0[i]) > abs(now[i] - x0[i])]
        while queue and (x - now).abs().sum() - whole * (1 - alpha) > 1e-12:
            group, queue = queue[:size], queue[size:]
            room = sum(abs(high[i] - now[i]) for i in group)
            gamma = min(1.0, float(((x - now).abs().sum() - whole * (1 - alpha)) / room))
            for i in group:
                now[i] = now[i] + gamma * (high[i] - now[i])
        there = gradient(now)
        total, g = total + (now - before) * (g + there) / 2, there
    return total


@pytest.mark.parametrize(("fraction", "distance"), [(0.25, 0.02), (0.5, 1.0), (0.1, 0.3)])
def test_guided_ig_is_the_algorithm(fraction: float, distance: float) -> None:
    model, x, x0 = Mlp(7), uniform(4, 7), 0.3 * uniform(4, 7, seed=1)
    options = {"steps": 9, "fraction": fraction, "distance": distance, "baseline": x0}
    found = tensor(model, x, "guided_ig", target=2, batch_size=3, **options)
    for b in range(4):
        expected = by_the_algorithm(lambda t: model(t)[:, 2], x[b], x0[b], 9, fraction, distance)
        torch.testing.assert_close(found[b], expected)


def test_guided_ig_with_no_freedom_is_the_straight_path() -> None:
    model, x = Mlp(), uniform(3, 4)
    found = tensor(model, x, "guided_ig", target=1, steps=400, distance=0)
    torch.testing.assert_close(found, brute_force(lambda t: model(t)[:, 1], x), rtol=1e-5, atol=1e-6)


def test_guided_ig_takes_the_flat_way_first() -> None:
    """x y + y from (0, 0): y' = 1 + x is steeper than x' = y all along, so that x goes first, and y gets 2 of 2."""
    found = tensor(
        lambda x: x[:, 0] * x[:, 1] + x[:, 1], torch.ones(1, 2).double(), "guided_ig", distance=1.0, fraction=0.5,
        steps=40,
    )  # fmt: skip
    torch.testing.assert_close(found, torch.tensor([[0.0, 2.0]]).double())


def test_guided_ig_credits_nothing_that_is_not_read() -> None:
    found = tensor(lambda x: torch.sin(x[:, 0] * x[:, 2]), uniform(3, 3), "guided_ig", distance=0.5)
    assert (found[:, 1] == 0).all()


# ---------------------------------------------------------------- Blur IG
class Energy(nn.Module):
    """The sum of squares of each channel, (B, C, ...) -> (B, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).square().flatten(2).sum(2)


def test_blur_ig_of_waves() -> None:
    """A cosine keeps its shape between edges that reflect: blurred by s it is exp(-s^2 w^2 / 2) as high, so that its
    attribution is x^2 (1 - exp(-s^2 w^2)), place by place; a constant is not blurred, and gets nothing."""
    n, sigma = 12, 1.5
    place = torch.arange(n, dtype=torch.float64) + 0.5
    down, right = math.pi * 3 / n, math.pi * 2 / 8
    wave = torch.cos(down * place)[:, None] * torch.cos(right * place[:8])
    x = torch.stack([wave, torch.ones(n, 8, dtype=torch.float64)])[None]
    found = enodo.explain(Energy().eval(), x, "blur_ig", target="all", sigma=sigma, steps=200)
    left = math.exp(-(sigma**2) * (down**2 + right**2))
    torch.testing.assert_close(found.tensor[0, 0, 0], wave**2 * (1 - left), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.tensor[1, 0], torch.zeros_like(x[0]))
    assert found.delta is not None
    assert found.delta.abs().max() < 1e-3
    torch.testing.assert_close(found.baseline_scores[0], (wave**2).sum()[None] * left)


def test_the_default_leaves_nothing_but_the_mean() -> None:
    x = uniform(2, 1, 20)
    found = enodo.explain(Energy().eval(), x, "blur_ig", target=0)
    torch.testing.assert_close(found.baseline_scores, 20 * x.mean((1, 2)) ** 2, rtol=1e-2, atol=1e-2)


def test_a_narrow_blur_is_the_gaussian_sum() -> None:
    """Far from the edges, blurring is the sum over neighbours with Gaussian weights."""
    from enodo.methods.blur_ig import _kernels

    kernel = _kernels(41, torch.tensor([2.0]).double())[0, 20].numpy()
    gauss = np.exp(-((np.arange(41) - 20) ** 2) / 8)
    np.testing.assert_allclose(kernel, gauss / gauss.sum(), atol=1e-7)


def test_blur_ig_refines_until_it_settles() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)))
    x = normal(3, 2, 6, 6)
    found = enodo.explain(model, x, "blur_ig", target=1, tol=1e-2, max_steps=511)
    assert found.error is not None
    assert found.error.max() <= 1e-2
    fine = enodo.explain(model, x, "blur_ig", target=1, steps=800)
    torch.testing.assert_close(found.tensor, fine.tensor, rtol=0.05, atol=0.02)
    assert fine.delta.abs().max() < 1e-4
    both = enodo.explain(model, x, "idgi", target=1, path="blur", steps=20)
    assert both.delta.abs().max() < 1e-12
    torch.testing.assert_close(both.baseline_scores, fine.baseline_scores)


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_blur_ig(law: str) -> None:
    model = seeded(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)))
    case = Case("series", model, normal(3, 2, 6), [1, 0, 1], layers=("0",), neuron=(0, 2))
    if law == "ignored":  # what stands beside is blurred into what is read
        return
    for wrt in (enodo.INPUT, "0"):
        LAWS[law](Trial("blur_ig", case, {"steps": 5}, wrt=wrt))


@pytest.mark.parametrize(
    ("argument", "words", "method", "given"),
    [
        ("steps", "0", "idgi", {"steps": 0}),
        ("path", "winding", "idgi", {"path": "winding"}),
        ("fraction", "2", "guided_ig", {"fraction": 2}),
        ("fraction", "more than 0", "guided_ig", {"fraction": 0}),
        ("distance", "-1", "guided_ig", {"distance": -1}),
        ("wrt", "(2, 3)", "blur_ig", {}),
        ("sigma", "-1", "blur_ig", {"inputs": torch.ones(1, 2, 4), "model": Energy().eval(), "sigma": -1, "target": 0}),
    ],
)
def test_what_is_refused(argument: str, words: str, method: str, given: dict[str, Any]) -> None:
    asked = {"model": Squares(), "inputs": uniform(2, 3), "method": method, **given}
    with pytest.raises(enodo.BadArgument, match=f"^{argument}") as caught:
        enodo.explain(**asked)
    assert words in str(caught.value)
