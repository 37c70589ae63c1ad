"""Attention with sinks, by experts, of vectors that only look: what rollouts make of it, or refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import enodo
from enodo.testing.models import normal
from tests.methods.test_attention import METHODS

T, C = 5, 6
X = normal(2, T, C)
WEIGHTS = [0.3 * normal(C, C, seed=s) for s in range(1, 4)]


def vectors(x: Tensor) -> list[Tensor]:
    return [F.linear(x, w) for w in WEIGHTS]


@pytest.mark.parametrize("first", [False, True])
def test_a_sink_is_no_token(first: bool) -> None:
    """It takes a share of the attention that no token gets; rollout divides what is left."""

    def attention(x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = vectors(x)
        scores, sink = q @ k.mT, torch.full((len(x), T, 1), 0.3).double()
        p = torch.cat([sink, scores] if first else [scores, sink], -1).softmax(-1)
        p = p[..., 1:] if first else p[..., :-1]
        return p, (p @ v).sum((1, 2))

    p = attention(X)[0]
    ask = {"token": 2, "reshape": False}
    found = {m: enodo.explain(lambda x: attention(x)[1], X, m, **ask).tensor[..., 0] for m in METHODS}
    assert p.sum(-1).max() < 0.99
    torch.testing.assert_close(found["raw_attention"], p[:, 2])
    rolled = (p + torch.eye(T)) / (p.sum(-1, keepdim=True) + 1)
    torch.testing.assert_close(found["attention_rollout"], rolled[:, 2])
    assert (found["gradient_rollout"] != 0).any()


def routed(x: Tensor, weights: list[Tensor]) -> Tensor:
    """Each token by its expert; one expert has none, and tokens cannot be followed through the sum."""
    expert = (x.flatten(0, 1)[:, 0] > 0).long()
    out = torch.zeros_like(x).flatten(0, 1)
    for n, w in enumerate(weights):
        which = (expert == n).nonzero()[:, 0]
        out = out.index_add(0, which, F.linear(x.flatten(0, 1)[which], w).tanh())
    return out.view(x.shape)


def test_queries_made_by_experts_are_those_of_the_tokens() -> None:
    def attention(x: Tensor) -> tuple[Tensor, Tensor]:
        _, k, v = vectors(x)
        p = (routed(x, WEIGHTS) @ k.mT).softmax(-1)
        return p, (p @ v).tanh().sum((1, 2))

    p, scores = attention(X.clone().requires_grad_())
    (g,) = torch.autograd.grad(scores.sum(), p)
    p = p.detach()
    wanted = p, (p + torch.eye(T)) / 2, (g * p).clamp(min=0)
    for method, step in zip(METHODS, wanted, strict=True):
        got = enodo.explain(lambda x: attention(x)[1], X, method, token=1, reshape=False).tensor[..., 0]
        torch.testing.assert_close(got, step[:, 1])


def test_what_only_looks_gains_nothing_of_itself() -> None:
    """Vectors that the model brings with it look at the tokens: these have what the gradient says."""
    learnt = normal(3, C, seed=7)

    def model(x: Tensor) -> Tensor:
        _, k, v = vectors(x)
        p = (learnt @ k.mT).softmax(-1)
        return (p @ v).tanh().sum((1, 2))

    got = enodo.explain(model, X, "gradient_rollout", token=1, reshape=False).tensor[..., 0]
    x = X.clone().requires_grad_()
    _, k, v = vectors(x)
    p = (learnt @ k.mT).softmax(-1)
    (g,) = torch.autograd.grad((p @ v).tanh().sum(), p)
    torch.testing.assert_close(got, (g * p).clamp(min=0)[:, 1].detach())


@pytest.mark.parametrize("method", METHODS)
def test_bands_that_cannot_be_followed_are_refused(method: str) -> None:
    """Each token looks at itself and its neighbours, cut out by strides: 3 scores that are no tokens."""

    def model(x: Tensor) -> Tensor:
        q, k, v = vectors(x)
        near = F.pad(torch.sort(k, 1)[0], (0, 0, 1, 1)).unfold(1, 3, 1)  # (B, T, C, 3)
        scores = torch.einsum("btc,btcw->btw", q, near)[:, :, None].softmax(-1)  # (B, T, 1, 3)
        seen = F.pad(v, (0, 0, 1, 1)).unfold(1, 3, 1)
        return torch.matmul(scores, seen.transpose(2, 3)).sum((1, 2, 3))

    with pytest.raises(enodo.BadArgument, match="cannot be followed"):
        enodo.explain(model, X, method)
