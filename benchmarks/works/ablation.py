"""Features taken away one after the other: small models, where a library's own work shows, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models import MODELS
from benchmarks.work import Call, Work
from benchmarks.works.small import rows, seeded

FEATURES = 100
WINDOW, STRIDE = (3, 56, 56), (3, 28, 28)  # 49 windows over 3 x 224 x 224


def table() -> nn.Module:
    def build() -> nn.Module:
        hidden = [nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(128, 10))

    return seeded(build)


def bare(model: nn.Module, x: Tensor, k: int) -> Tensor:
    """The scores lost, k features a pass."""
    with torch.no_grad():
        lost = [model(x)]
        for i in range(0, x.shape[1], k):
            index = torch.arange(i, min(i + k, x.shape[1]))
            points = x.expand(len(index), *x.shape).clone()
            points[index - i, :, index] = 0
            lost.append(model(points.flatten(0, 1)).unflatten(0, (len(index), len(x))))
        return (lost[0] - torch.cat(lost[1:])).movedim(0, -1)


def ablation(name: str, about: str, count: int, faster: float, each: int = 1, targets: int = 1, k: int = 100) -> Work:
    """Captum with `each` perturbations a pass; the bare loop with `k`."""
    x = rows(count, FEATURES)

    def captum() -> Call:
        from captum.attr import FeatureAblation

        asked = FeatureAblation(table())
        given = {"perturbations_per_eval": each}
        if targets == 1:
            return lambda: asked.attribute(x, target=1, **given)
        return lambda: torch.stack([asked.attribute(x, target=t, **given) for t in range(targets)])

    def ours() -> Call:
        import enodo

        model, target = table(), 1 if targets == 1 else "all"
        return lambda: enodo.explain(model, x, "feature_ablation", target=target).values

    def floor() -> Call:
        model = table()
        if targets == 1:
            return lambda: bare(model, x, k)[:, 1]
        return lambda: bare(model, x, k).movedim(1, 0)

    sides = {"enodo": ours, "captum": captum, "floor": floor}
    return Work(name, f"feature ablation, {FEATURES} features, MLP, {about}", sides, faster, threads=1)


def occlusion(model: str, name: str, faster: float, each: int = 1) -> Work:
    build: Callable[[], Any] = MODELS[model]
    most = "" if each == 1 else f", Captum's best packing ({each})"
    about = f"occlusion, 49 windows, {name}{most}"

    def captum() -> Call:
        from captum.attr import Occlusion

        case = build()
        asked = {"strides": STRIDE, "target": case.target, "perturbations_per_eval": each}
        return lambda: Occlusion(case.model).attribute(case.inputs, WINDOW, **asked)

    def ours() -> Call:
        import enodo

        case = build()
        asked = {"window": WINDOW, "strides": STRIDE, "target": case.target}
        return lambda: enodo.explain(case.model, case.inputs, "occlusion", **asked).values

    label = f"occlusion_{model}" + ("" if each == 1 else "_packed")
    return Work(label, about, {"enodo": ours, "captum": captum}, faster, rounds=5, threads=1)


WORKS = [
    ablation("ablation", "1 row", 1, 20.0),
    ablation("ablation_packed", "1 row, Captum's best packing (50)", 1, 5.0, each=50),
    ablation("ablation_256", "256 rows", 256, 1.2, k=8),
    ablation("ablation_256_packed", "256 rows, Captum's best packing (4)", 256, 1.0, each=4, k=8),
    ablation("ablation_targets", "1 row, 10 targets", 1, 8.0, targets=10),
    occlusion("resnet18_like", "ResNet-18-like", 1.6),
    occlusion("resnet18_like", "ResNet-18-like", 1.3, each=4),
    occlusion("efficientnet_lite0", "EfficientNet-Lite0", 1.6),
    occlusion("efficientnet_lite0", "EfficientNet-Lite0", 1.3, each=4),
]
