"""Passes in part give what full passes give, on every way of writing a network; and they do less."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import enodo
from enodo.core import reach
from enodo.core.partly import Partly


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().double().eval()


def convs(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *more, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


class Residual(nn.Module):
    """One in-place ReLU, used three times; a shortcut; batch norm; a strided stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16)
        self.pool, self.relu = nn.MaxPool2d(3, 2, 1), nn.ReLU(inplace=True)
        self.a, self.b, self.head = nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1), nn.Linear(16, 4)

    def forward(self, x):
        x = self.pool(self.relu(self.bn(self.stem(x))))
        y = self.b(self.relu(self.a(x)))
        y += x
        return self.head(self.relu(y).mean((2, 3)))


class Dense(nn.Module):
    """Channels laid side by side, gates on them, an average pool, a larger map again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(11, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.gate, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x):
        y = F.relu(self.b(torch.cat([x, torch.tanh(self.a(x)) * 0.5 + 1], 1)))
        y = y * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(y, 1)))
        y = F.interpolate(F.avg_pool2d(self.c(y), 2), scale_factor=2, mode="nearest")
        return self.head(y.flatten(2).amax(-1))


class Padded(nn.Module):
    """Padding as an operation of its own and by name, dilation, depthwise convolutions, buffers of any shape."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, 3, padding="same", dilation=2, groups=6)
        self.c, self.head = nn.Conv2d(6, 6, (1, 5), padding=(0, 2)), nn.Linear(6, 4)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 6)[:, None, None])

    def forward(self, x):
        y = F.relu6(self.a(F.pad(x, (0, 1, 0, 1))) * self.scale)
        y = F.gelu(self.c(self.b(y)) + torch.arange(y.shape[-1], device=y.device))
        return self.head(y.view(y.size(0), y.shape[1], -1).mean(dim=-1))


class Rewritten(nn.Module):
    """A result written into twice, as by `y += z` and an in-place ReLU, that differs in a smaller window than z."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 5, padding=2), nn.Linear(8, 4)

    def forward(self, x):
        y = self.a(x)
        y += self.b(x)
        return self.head(F.relu(y, inplace=True).mean((2, 3)))


class Flattened(nn.Module):
    """Views of maps by channels in front, as of a full pass."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 4, 9, 2), nn.Linear(4 * 5 * 5, 4)

    def forward(self, x):
        y = self.b(F.relu(self.a(x)))
        return self.head(y.view_as(y).view(len(x), -1))


class Looking(nn.Module):
    """Reads a number out of its values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convs(nn.ReLU())

    def forward(self, x):
        return self.inner(x) * (2 if x.max().item() > 0 else 1)


class Writing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = convs(nn.ReLU())

    def forward(self, x):
        y = x.clone()
        y[:, 0] = 0
        return self.inner(y)


MODELS = {
    "plain": lambda: convs(nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    "residual": Residual,
    "dense": Dense,
    "padded": Padded,
    "rewritten": Rewritten,
    "flattened": Flattened,
    "dropout in place, of a view": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5, inplace=True), nn.Linear(16, 4)
    ),
    "looking": Looking,
    "writing": Writing,
    "scripted": lambda: nn.Sequential(torch.jit.script(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(4 * 34 * 34, 4)),
}
WHOLE = ("writing", "scripted")  # made in full


@pytest.fixture
def counted(monkeypatch):
    """Passes in part made and given up."""
    seen = {"made": 0, "whole": 0}
    scored = Partly.scored

    def count(self, x, k):
        found = scored(self, x, k)
        seen["whole" if found is None else "made"] += 1
        return found

    monkeypatch.setattr(Partly, "scored", count)
    return seen


def in_full(monkeypatch, *args, **kwargs):
    with monkeypatch.context() as patch:
        patch.setattr(Partly, "suits", staticmethod(lambda q: False))
        return enodo.explain(*args, **kwargs).tensor


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_size", ["auto", 5])
def test_occlusion(name, batch_size, counted, monkeypatch):
    model, x = seeded(MODELS[name]), torch.rand(2, 3, 36, 36, generator=torch.Generator().manual_seed(1)).double()
    asked = {"target": "predicted", "window": (3, 6, 6), "strides": (3, 5, 5), "batch_size": batch_size}
    got = enodo.explain(model, x, "occlusion", **asked).tensor
    assert (counted["made"] > 0) == (name not in WHOLE)
    torch.testing.assert_close(got, in_full(monkeypatch, model, x, "occlusion", **asked), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "layer"), [("plain", "2"), ("residual", "b"), ("residual", "pool"), ("dense", "c")])
def test_a_layer(name, layer, counted, monkeypatch):
    """What comes before the layer is taken from the record, also where it is needed again beside the layer."""
    model, x = seeded(MODELS[name]), torch.rand(2, 3, 36, 36, generator=torch.Generator().manual_seed(1)).double()
    asked = {"target": "all", "wrt": layer, "features": 7}
    got = enodo.explain(model, x, "feature_ablation", **asked).tensor
    assert counted["made"]
    assert not counted["whole"]
    torch.testing.assert_close(got, in_full(monkeypatch, model, x, "feature_ablation", **asked), rtol=1e-9, atol=1e-12)


def test_a_late_layer_of_a_transformer(counted, monkeypatch):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=50, num_labels=3
    )
    model = seeded(lambda: transformers.BertForSequenceClassification(config))
    inputs = {"input_ids": torch.tensor([[3, 8, 1, 20, 4], [5, 6, 7, 8, 9]]), "attention_mask": torch.ones(2, 5).long()}
    asked = {"target": 1, "wrt": "bert.encoder.layer.1", "features": 5}
    got = enodo.explain(model, inputs, "feature_ablation", **asked).tensor
    assert counted["made"]
    assert not counted["whole"]
    torch.testing.assert_close(
        got, in_full(monkeypatch, model, inputs, "feature_ablation", **asked), rtol=1e-9, atol=1e-12
    )


def test_less_is_computed(monkeypatch):
    """By torch's own count of multiplications."""
    model, x = seeded(MODELS["plain"]), torch.rand(1, 3, 64, 64).double()
    asked = {"target": 0, "window": (3, 8, 8), "strides": (3, 8, 8)}
    with FlopCounterMode(display=False) as part:
        enodo.explain(model, x, "occlusion", **asked)
    with FlopCounterMode(display=False) as full:
        in_full(monkeypatch, model, x, "occlusion", **asked)
    assert part.get_total_flops() < full.get_total_flops() / 4


size, few = st.integers(1, 4), st.integers(0, 3)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kernel=size, stride=size, pad=few, dilation=st.integers(1, 2), kind=st.sampled_from("cma"))
def test_windows_of_any_sliding_operation(data, kernel, stride, pad, dilation, kind):
    """A window anywhere in the map, also at its edge: its reach is found, and nothing else of the result differs."""
    H, W = data.draw(st.integers(12, 20)), data.draw(st.integers(12, 20))
    h, w = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    g = torch.Generator().manual_seed(0)
    base = torch.rand(1, 2, H, W, generator=g, dtype=torch.float64)
    top = [data.draw(st.integers(0, H - h)) for _ in range(3)]
    left = [data.draw(st.integers(0, W - w)) for _ in range(3)]
    patch = reach.Patch(base, torch.rand(3, 2, h, w, generator=g, dtype=torch.float64), tuple(top), tuple(left))
    if kind == "c":
        weight = torch.rand(4, 2, kernel, kernel, generator=g, dtype=torch.float64)
        name, options = "conv2d", {"weight": weight, "stride": stride, "padding": pad, "dilation": dilation}
    else:
        name = "max_pool2d" if kind == "m" else "avg_pool2d"
        options = {"kernel_size": kernel, "stride": stride, "padding": min(pad, kernel // 2)}
    full = getattr(F, name)
    found = reach.SLIDING[name](full(base, **options), patch, **options)
    if found is not None:  # not so much of the map that all of it is computed
        torch.testing.assert_close(found.whole(), full(patch.whole(), **options), rtol=1e-12, atol=1e-12)
