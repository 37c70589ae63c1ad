"""Perturbations of which a network need only be computed in part: windows of pictures, and late layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.models import MODELS
from benchmarks.work import Call, Work
from benchmarks.works.small import rows, seeded


def vgg() -> nn.Module:
    """Eight convolutions in four stages, (B, 3, 128, 128) -> (B, 10), scores of about 1."""

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        wide = 3
        for width in (32, 64, 128, 256):
            for _ in range(2):
                layers += [nn.Conv2d(wide, width, 3, padding=1), nn.ReLU(inplace=True)]
                nn.init.kaiming_normal_(layers[-2].get_parameter("weight"))
                wide = width
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10))

    return seeded(build)


def resnet() -> nn.Module:
    return MODELS["resnet18_like"]().model


def occlusion(name: str, about: str, build: Callable[[], nn.Module], x: Tensor, side: int, faster: float) -> Work:
    window, strides = (3, side, side), (3, side // 2, side // 2)

    def captum() -> Call:
        from captum.attr import Occlusion

        explainer = Occlusion(build())
        return lambda: explainer.attribute(x, sliding_window_shapes=window, strides=strides, target=3)

    def ours() -> Call:
        import enodo

        model = build()
        return lambda: enodo.explain(model, x, "occlusion", target=3, window=window, strides=strides).values

    about = f"occlusion, windows of {side} x {side} every {side // 2}, {about}"
    return Work(name, about, {"enodo": ours, "captum": captum}, faster, agree=1e-3, rounds=3)


def late_layer() -> Work:
    x, groups = rows(1, 3, 224, 224), torch.arange(512).view(1, 512, 1, 1) // 16

    def captum() -> Call:
        from captum.attr import LayerFeatureAblation

        model = resnet()
        explainer = LayerFeatureAblation(model, model.get_submodule("11"))
        mask = groups.expand(1, 512, 7, 7)
        return lambda: explainer.attribute(x, target=3, layer_mask=mask)

    def ours() -> Call:
        import enodo

        model = resnet()
        return lambda: enodo.explain(model, x, "feature_ablation", target=3, wrt="11", features=groups).values

    about = "ablation of 32 groups of channels of the last block, ResNet-18-like"
    return Work("late_layer", about, {"enodo": ours, "captum": captum}, 5.0, agree=1e-3, rounds=3)


WORKS = [
    occlusion("occlusion_vgg", "VGG-like, 3 x 128 x 128", vgg, rows(1, 3, 128, 128), 16, 4.0),
    occlusion("occlusion_resnet_windows", "ResNet-18-like, 3 x 224 x 224", resnet, rows(1, 3, 224, 224), 24, 3.0),
    late_layer(),
]
