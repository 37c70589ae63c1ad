"""Gradients averaged over noisy copies: NoiseTunnel with 20 samples, of one row."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.models import efficientnet
from benchmarks.work import CHUNK, Call, Work, bare_gradient, frozen

SAMPLES, NOISE = 20, 0.02  # so little noise that two draws agree better than with a wrong answer


def captum() -> Call:
    from captum.attr import NoiseTunnel, Saliency

    case = efficientnet()
    tunnel = NoiseTunnel(Saliency(case.model))
    return lambda: tunnel.attribute(
        case.inputs, nt_type="smoothgrad", nt_samples=SAMPLES, stdevs=NOISE, target=case.target, abs=False
    )


def ours() -> Call:
    import enodo

    case, options = efficientnet(), {"samples": SAMPLES, "noise": NOISE, "relative": False}
    return lambda: enodo.explain(case.model, case.inputs, "smoothgrad", target=case.target, **options).values


def floor() -> Call:
    case = efficientnet()
    model = frozen(case.model)

    def call() -> Tensor:
        total = torch.zeros_like(case.inputs)
        for _ in range(SAMPLES // CHUNK):
            noisy = case.inputs + NOISE * torch.randn(CHUNK, *case.inputs.shape[1:])
            total += bare_gradient(lambda z: model(z)[:, case.target], noisy).sum(0, keepdim=True)
        return total / SAMPLES

    return call


WORKS = [
    Work(
        "noise_tunnel",
        f"NoiseTunnel over saliency, {SAMPLES} samples, EfficientNet-Lite0",
        {"enodo": ours, "captum": captum, "floor": floor},
        faster=1.2,
        memory=1 / 3,
        agree=None,
    )
]
