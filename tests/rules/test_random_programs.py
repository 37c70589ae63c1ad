"""Programs made at random of sixty operations, also in place, on views and on what was used before.

DeepLIFT is complete, LRP-0 loses nothing but what constants take, and in programs
that are linear both are what a gradient says; against a background DeepLIFT SHAP is the mean of pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import enodo
from enodo.testing.models import normal
from tests.rules.nets import settled

Step = Callable[[Tensor, Tensor], Tensor]  # of two values of a program, (B, 4, 6) like its result

SQUARE, WIDE, KERNEL = normal(6, 6, seed=1) / 3, normal(4, 4, seed=2) / 2, normal(4, 4, 3, seed=3) / 3
MASK, ORDER = torch.arange(24).view(4, 6) % 3 == 0, torch.tensor([2, 0, 3, 1])
LSTM = settled(torch.nn.LSTM(6, 6, batch_first=True))


def _written(a: Tensor, write: Callable[[Tensor], object]) -> Tensor:
    y = a * 1
    write(y)
    return y


LINEAR: list[Step] = [
    lambda a, b: a + b,
    lambda a, b: torch.add(b, a, alpha=0.5),
    lambda a, b: a @ SQUARE,
    lambda a, b: torch.einsum("jk,bki->bji", WIDE, a),
    lambda a, b: F.conv1d(a, KERNEL, padding=1),
    lambda a, b: F.conv_transpose1d(a, KERNEL, padding=1),
    lambda a, b: torch.cat([a[:, :2], b[:, 2:]], 1),
    lambda a, b: torch.stack(a.unbind(2)[::-1], 2) - b.mean(1, keepdim=True),
    lambda a, b: a.transpose(1, 2).reshape(a.shape).cumsum(1),
    lambda a, b: a[:, ORDER] + a.gather(1, ORDER.view(1, 4, 1).expand(a.shape)),
    lambda a, b: torch.where(MASK, a, b).roll(1, 2),
    lambda a, b: F.avg_pool1d(a, 3, 1, 1) - F.interpolate(b[..., :3], 6, mode="linear"),
    lambda a, b: torch.fft.irfft(torch.fft.rfft(a), 6) + a.diff(dim=2, prepend=b[..., :1]),
    lambda a, b: _written(a, lambda y: y.add_(b, alpha=2)),
    lambda a, b: _written(a, lambda y: y[:, 1:3].sub_(b[:, :2])),
    lambda a, b: _written(a, lambda y: y.view(len(y), -1)[:, 3:9].mul_(3)),
    lambda a, b: _written(a, lambda y: y.__setitem__((slice(None), 0), b[:, 1])),
    lambda a, b: torch.zeros_like(a).index_add_(1, ORDER, b).scatter_add(1, ORDER.view(1, 4, 1).expand(a.shape), a),
]
OTHERS: list[Step] = [
    *(lambda a, b, f=f: f(a) for f in (
        F.relu, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.elu, F.leaky_relu, F.hardswish, F.softplus, torch.abs,
        torch.sin, F.relu6, F.hardshrink, torch.square,
    )),
    lambda a, b: a + 0.7,
    lambda a, b: F.linear(a, SQUARE, SQUARE[0]),
    lambda a, b: a * b,
    lambda a, b: a / (1 + b * b),
    lambda a, b: (1 + a * a).rsqrt() * b,
    lambda a, b: a.softmax(2) @ b.mT @ b,
    lambda a, b: a.log_softmax(1),
    lambda a, b: F.layer_norm(a, (6,)) + F.group_norm(b, 2),
    lambda a, b: F.normalize(a, dim=2),
    lambda a, b: torch.maximum(a, b) + a.amax((1, 2), keepdim=True),
    lambda a, b: a.clamp(b - 1, b + 1),
    lambda a, b: a.sort(1)[0] - b.relu().kthvalue(2, 2, keepdim=True)[0],
    lambda a, b: a.gather(2, b.argsort(2)),
    lambda a, b: F.max_pool1d(a, 3, 1, 1) + a.cummax(1)[0],
    lambda a, b: torch.where(a > b, a * 2, b.sin()),
    lambda a, b: a * (b > 0) + b.masked_fill(a > 0.3, 0.0),
    lambda a, b: F.scaled_dot_product_attention(a, b, a, is_causal=True),
    lambda a, b: torch.logaddexp(a, b) + a.logsumexp(1, keepdim=True),
    lambda a, b: a.std(1, keepdim=True) * b.tanh().prod(2, keepdim=True),
    lambda a, b: (3 * a).floor() * 0.1 + b.round(),
    lambda a, b: _written(a, lambda y: y.mul_(b)),
    lambda a, b: _written(a, lambda y: y[:, :2].tanh_()),
    lambda a, b: _written(a, lambda y: y.__setitem__(b > 0, 0.5)),
    lambda a, b: LSTM(a)[0],
    lambda a, b: F.glu(torch.cat([a, b], 2), 2) + F.cosine_similarity(a, b, 2)[..., None],
]  # fmt: skip


def program(seed: int, steps: list[Step]) -> Callable[[Tensor], Tensor]:
    """Steps at random, each of two of the values so far; the score adds up three of these, weighted entry by entry."""
    draw = random.Random(seed)
    plan = [(draw.choice(steps), draw.random(), draw.random()) for _ in range(draw.randint(1, 6))]
    ends = draw.random(), draw.random()

    def run(x: Tensor) -> Tensor:
        found = [x]
        for step, i, j in plan:
            late = found[-3:]
            found.append(step(late[int(i * len(late))], found[int(j * len(found))]))
        y = found[-1] + 0.3 * sum(found[int(e * len(found))] for e in ends)
        score: Tensor = (y * normal(4, 6, seed=seed)).sum((1, 2))
        return score

    return run


@pytest.mark.parametrize("seed", range(60))
def test_differences_and_relevance(seed: int) -> None:
    model = program(seed, LINEAR + OTHERS)
    x, x0 = normal(2, 4, 6, seed=seed), normal(2, 4, 6, seed=seed + 1)
    found = enodo.explain(model, x, "deeplift", baseline=x0)
    size = 1 + found.tensor.abs().sum((1, 2)) + found.scores.abs()
    torch.testing.assert_close(found.scores, model(x))
    assert (found.delta.abs() <= 1e-9 * size).all(), found.delta
    alone = enodo.explain(model, x, "deeplift", baseline=x0, batch_size=1)
    torch.testing.assert_close(found.tensor, alone.tensor, atol=1e-9 * float(size.max()), rtol=1e-7)
    relevance = enodo.explain(model, x, "lrp", composite="zero", balance=True)
    parts = relevance.tensor.abs().sum((1, 2)) + relevance.details["constants"].abs() + relevance.scores.abs()
    assert (relevance.details["lost"].abs() <= 1e-9 * (1 + parts)).all(), relevance.details["lost"]


@pytest.mark.parametrize("seed", range(20))
def test_linear_programs(seed: int) -> None:
    model, x = program(seed, LINEAR), normal(2, 4, 6, seed=seed)
    slope = enodo.explain(model, x, "gradient").tensor
    multipliers = enodo.explain(model, x, "deeplift", baseline=normal(2, 4, 6, seed=seed + 1), multiply=False).tensor
    torch.testing.assert_close(multipliers, slope)
    torch.testing.assert_close(enodo.explain(model, x, "lrp", composite="zero").tensor, x * slope)


@pytest.mark.parametrize("seed", range(15))
def test_against_a_background(seed: int) -> None:
    model, x, background = program(seed, LINEAR + OTHERS), normal(2, 4, 6, seed=seed), normal(3, 4, 6, seed=seed + 1)
    found = enodo.explain(model, x, "deeplift_shap", baseline=background).tensor
    every = torch.stack([enodo.explain(model, x, "deeplift", baseline=row).tensor for row in background])
    torch.testing.assert_close(found, every.mean(0), atol=1e-9 * float(1 + every.abs().max()), rtol=1e-7)
