"""Rules that compare with a baseline, and rules that bend gradients: one explanation of a few rows.

Captum's rule for max pooling is another one away from a zero baseline, and it does not see the functional ReLU: the
networks here pool by averages, and their ReLUs are modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.models import Block, ResNet18
from benchmarks.work import Call, Work, bare_gradient, frozen
from benchmarks.works.small import cnn, rows, seeded

Made = Callable[[], tuple[nn.Module, Tensor]]
TARGET, BACKGROUND = 1, 16


def mlp() -> tuple[nn.Module, Tensor]:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))

    return seeded(build), rows(16, 20)


def small() -> tuple[nn.Module, Tensor]:
    return cnn(), rows(4, 3, 32, 32)


def relus() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(*[nn.ReLU() for _ in range(1000)], nn.Flatten()).eval(), rows(16, 20)


class Modular(Block):
    """A residual block of modules alone."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        scores: Tensor = self.last(y + self.shortcut(x))
        return scores


def resnet() -> tuple[nn.Module, Tensor]:
    def build() -> nn.Module:
        model = ResNet18(10)
        model[3] = nn.AvgPool2d(3, 2, 1)
        for block in model:
            if isinstance(block, Block):
                block.__class__, block.last = Modular, nn.ReLU()
        return model

    return seeded(build), rows(4, 3, 112, 112)


def ours(made: Made, method: str, background: bool = False) -> Call:
    import enodo

    model, x = made()
    baseline = rows(BACKGROUND, *x.shape[1:]) if background else None
    return lambda: enodo.explain(model, x, method, target=TARGET, baseline=baseline).values


def captum(made: Made, name: str, background: bool = False) -> Call:
    import captum.attr

    model, x = made()
    more = {"baselines": rows(BACKGROUND, *x.shape[1:])} if background else {}
    explainer = getattr(captum.attr, name)(model)
    return lambda: explainer.attribute(x, target=TARGET, **more)


def gradient(made: Made) -> Call:
    """The gradient at the same rows, without rules."""
    model, x = made()
    model = frozen(model)
    return lambda: bare_gradient(lambda z: model(z)[:, TARGET], x)


def pairs_by_hand(made: Made) -> Call:
    """As many rows forward as there are rows and baselines, and as many back as there are pairs; no rules."""
    model, x = made()
    model, baseline = frozen(model), rows(BACKGROUND, *x.shape[1:])

    def call() -> Tensor:
        start = baseline.detach().requires_grad_()
        model(x)
        scores = model(start)[:, TARGET].sum()
        return torch.stack([torch.autograd.grad(scores, start, retain_graph=True)[0] for _ in x])

    return call


def work(name: str, about: str, made: Made, methods: tuple[str, str]) -> Work:
    sides = {
        "enodo": lambda: ours(made, methods[0], "shap" in name),
        "captum": lambda: captum(made, methods[1], "shap" in name),
    }
    floor = pairs_by_hand if "shap" in name else gradient
    return Work(name, about, {**sides, "floor": lambda: floor(made)}, threads=1)


DEEPLIFT, GUIDED = ("deeplift", "DeepLift"), ("guided_backprop", "GuidedBackprop")
SHAP = ("deeplift_shap", "DeepLiftShap")


def by_hand(made: Made) -> Call:
    """Guided backpropagation of a chain, its hooks hung by hand: what is left beside it is what the mode costs."""
    model, x = made()

    def call() -> Tensor:
        start = y = x.detach().requires_grad_()
        for layer in model:  # type: ignore[attr-defined]
            y = layer(y)
            if isinstance(layer, nn.ReLU):
                y.register_hook(lambda g: g.clamp(min=0))
        return torch.autograd.grad(y[:, TARGET].sum(), start)[0]

    return call


def guided_relus() -> Work:
    about = "guided backpropagation, 1,000 ReLUs; floor: the same hooks by hand (ours - floor in ms: us a ReLU)"
    found = work("guided_relus", about, relus, GUIDED)
    return replace(found, faster=1, sides={**found.sides, "floor": lambda: by_hand(relus)})


WORKS = [
    replace(work("deeplift_mlp", "DeepLIFT, 16 rows, MLP of 64", mlp, DEEPLIFT), faster=3, rounds=40),
    replace(work("deeplift_cnn", "DeepLIFT, 4 rows, small CNN", small, DEEPLIFT), floor=2.2, rounds=20),
    replace(
        work("deeplift_resnet", "DeepLIFT, 4 rows, ResNet-18-like, 3 x 112 x 112", resnet, DEEPLIFT),
        faster=1.5,
        floor=2.2,
    ),
    replace(
        work("deeplift_shap_cnn", "DeepLIFT SHAP, 4 rows, background of 16, small CNN", small, SHAP),
        faster=4,
        memory=0.5,
    ),
    replace(
        work("deeplift_shap_resnet", "DeepLIFT SHAP, 4 rows, background of 16, ResNet-18-like", resnet, SHAP),
        faster=4,
        memory=0.5,
        rounds=3,
    ),
    replace(work("guided_mlp", "guided backpropagation, 16 rows, MLP of 64", mlp, GUIDED), faster=1, rounds=40),
    guided_relus(),
    replace(
        work("guided_resnet", "guided backpropagation, 4 rows, ResNet-18-like, 3 x 112 x 112", resnet, GUIDED),
        faster=1,
        floor=2.2,
    ),
]
