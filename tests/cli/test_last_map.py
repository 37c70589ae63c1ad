"""Where a class activation map is asked for by itself: the last layer that is a map of what the answer hangs on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.cli.inspect import last_map
from enodo.io import Example, Subject
from enodo.show.sample import Sample
from enodo.testing.models import normal, seeded

SAMPLE = Sample("image", "a picture")


class Patches(nn.Module):
    """A vision transformer of two layers on pictures (B, 3, 8, 8), read from its class token or the mean of all."""

    def __init__(self, mean: bool = False) -> None:
        super().__init__()
        self.patch, self.first, self.mean = nn.Conv2d(3, 8, 2, 2), nn.Parameter(torch.ones(1, 1, 8)), mean
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.mlp, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(2)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        for norm, attention, mlp in zip(self.norms, self.attention, self.mlp, strict=True):
            y = norm(x)
            x = x + attention(y, y, y)[0]
            x = x + torch.relu(mlp(x))
        return self.head(x.mean(1) if self.mean else x[:, 0])


class Heads(nn.Module):
    """Attention written out, whose heads (B, H, T, T) have the proportions of the picture; then a map (B, h, w, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.softmax = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Softmax(-1)
        self.out, self.head = nn.Linear(8, 5), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patch(x).flatten(2).mT)
        heads = tokens.unflatten(2, (2, 4)).transpose(1, 2)
        mixed = self.softmax(heads @ heads.mT) @ heads
        return self.head(mixed.transpose(1, 2).flatten(2)[:, 0])


def convolutional() -> nn.Module:
    body = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (convolutional, "4"),
        (Patches, "norms.1"),  # after the last attention the other tokens no longer count
        (lambda: Patches(mean=True), "mlp.1"),
        (Heads, "norm"),
    ],
)
def test_the_last_map(build, expected: str) -> None:
    model, x = seeded(build()), normal(1, 3, 8, 8)
    subject = Subject("own", model, "image", lambda *_: Example(x, SAMPLE))
    assert last_map(subject, Example(x, SAMPLE)) == expected
    found = enodo.explain(model, x, "grad_cam", target=1, wrt=expected, relu=False).tensor
    assert found.shape[-1] == found.shape[-2]
    assert int((found != 0).sum()) > 1
