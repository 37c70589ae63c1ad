"""Which tokens the answer is read from after the last attention: told by the slopes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal, seeded
from tests.methods.test_attention import METHODS, Two

X = normal(3, 5, 4)
REAL = torch.tensor([5, 3, 4])  # tokens of each row that are no padding
MASK = (torch.arange(5) < REAL[:, None]).to(X.dtype)


class Reads(Two):
    """Two layers of attention, and an answer that `how` makes of their tokens (B, T, 4)."""

    def __init__(self, read: Callable[[Tensor], Tensor], causal: bool = False) -> None:
        super().__init__(causal=causal)
        self.read = read

    def forward(self, x: Tensor) -> Any:
        h = x
        for layer in self.layers:
            _, _, v, p = self.probabilities(h, layer)
            h = h + torch.tanh((p @ v).transpose(1, 2).flatten(2))
        return self.head(self.read(h))


def asked(model: nn.Module, method: str, **more: Any) -> Tensor:
    return enodo.explain(model, X, method, reshape=False, **{"target": 1, **more}).tensor[..., 0]


def rows(method: str, model: nn.Module, **more: Any) -> Tensor:
    """What each token has, (T, B, T)."""
    return torch.stack([asked(model, method, token=t, **more) for t in range(5)])


READ = {
    "the mean": (lambda h: h.mean(1), torch.ones(3, 5)),
    "the mean of what is no padding": (lambda h: (h * MASK[..., None]).sum(1) / REAL[:, None], MASK),
    "the third": (lambda h: h[:, 2], torch.eye(5)[[2, 2, 2]]),
    "the last that is no padding": (lambda h: h[range(3), REAL - 1], torch.eye(5)[REAL - 1]),
    "two": (lambda h: h[:, 1] * h[:, 4], torch.tensor([0.0, 1, 0, 0, 1]).expand(3, 5)),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("causal", [False, True])
def test_the_tokens_that_the_answer_depends_on(name: str, method: str, causal: bool) -> None:
    read, weights = READ[name]
    model = seeded(Reads(read, causal))
    weights = (weights / weights.sum(1, keepdim=True)).to(X.dtype)
    expected = torch.einsum("bt,tbs->bs", weights, rows(method, model))
    torch.testing.assert_close(asked(model, method), expected)
    if method != "gradient_rollout":  # which is of a score
        torch.testing.assert_close(asked(model, method, target=None), expected)


@pytest.mark.parametrize("method", METHODS)
def test_answers_at_several_tokens(method: str) -> None:
    model = seeded(Reads(lambda h: h))
    torch.testing.assert_close(asked(model, method, target=(3, 1)), rows(method, model, target=(3, 1))[3])
    if method == "gradient_rollout":
        several = asked(model, method, target=enodo.Each([(3, 1), (0, 2)]))
        torch.testing.assert_close(several[1], rows(method, model, target=(0, 2))[0])
    else:  # nothing is said of which: the first, where tokens look ahead
        torch.testing.assert_close(asked(model, method, target=None), rows(method, model, target=None)[0])


def test_an_answer_that_no_token_has_a_part_in() -> None:
    model = seeded(Reads(lambda h: 0 * h[:, 3]))
    torch.testing.assert_close(asked(model, "attention_rollout"), rows("attention_rollout", model)[0])
