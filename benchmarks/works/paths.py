"""Integrated gradients, 50 steps from a zero baseline, of one row of real-sized models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.models import MODELS
from benchmarks.work import CHUNK, Call, Work, bare_path, frozen, gauss

STEPS = 50


def sides(build: Callable[[], Any]) -> dict[str, Callable[[], Call]]:
    def captum() -> Call:
        from captum.attr import IntegratedGradients

        case = build()
        return lambda: IntegratedGradients(case.model).attribute(case.inputs, target=case.target)

    def ours() -> Call:
        import enodo

        case = build()
        return lambda: enodo.explain(case.model, case.inputs, "integrated_gradients", target=case.target).values

    def floor() -> Call:
        case = build()
        model, (alphas, weights) = frozen(case.model), gauss(STEPS)
        return lambda: bare_path(lambda z: model(z)[:, case.target], case.inputs, alphas, weights, CHUNK)

    return {"enodo": ours, "captum": captum, "floor": floor}


def exact(build: Callable[[], Any]) -> Tensor:
    """The same sum in float64."""
    case = build()
    model, (alphas, weights) = frozen(case.model).double(), gauss(STEPS, torch.float64)
    return bare_path(lambda z: model(z)[:, case.target], case.inputs.double(), alphas, weights, CHUNK)


def work(name: str, about: str, faster: float, memory: float) -> Work:
    about = f"integrated gradients, {STEPS} steps, {about}"
    build = MODELS[name]
    return Work(name, about, sides(build), faster, memory, floor=1.05, exact=lambda: exact(build), rounds=5)


WORKS = [
    work("efficientnet_lite0", "EfficientNet-Lite0, 3 x 224 x 224", 2.3, 1 / 8),
    work("resnet18_like", "ResNet-18-like, 3 x 224 x 224", 1.4, 1 / 5),
    work("minilm", "MiniLM, 64 tokens", 1.0, 1 / 10),
    work("vit_like", "ViT-like (6 layers of 384), 3 x 224 x 224", 1.0, 1 / 10),
]
