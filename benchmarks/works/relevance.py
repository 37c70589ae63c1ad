"""Relevance propagation, of two rows. Captum's is no measure on residual nets: see `relevance_of_sums` in the docs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.work import Call, Work, bare_gradient, frozen

TARGET = 1


class Flat(nn.Sequential):
    """Layers of which the last is given flat values; Captum's LRP has no rule for nn.Flatten."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self[:-1]:
            x = layer(x)
        scores: Tensor = self[-1](x.flatten(1))
        return scores


def vgg(norms: bool) -> nn.Module:
    """VGG-11 (Simonyan and Zisserman 2015, table 1, A) at half its width, with one dense hidden layer."""
    layers: list[nn.Module] = []
    wide = 3
    for width in (32, 0, 64, 0, 128, 128, 0, 256, 256, 0, 256, 256, 0):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(wide, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norms else []), nn.ReLU()]
        wide = width
    return Flat(*layers, nn.Sequential(nn.Linear(wide * 4, 256), nn.ReLU(), nn.Linear(256, 10)))


def relevance(name: str, norms: bool) -> Work:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def build() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return vgg(norms).eval()

    def captum() -> Call:
        from captum.attr import LRP

        model = build()
        return lambda: LRP(model).attribute(x, target=TARGET)

    def ours() -> Call:
        import enodo

        model = build()
        return lambda: enodo.explain(model, x, "lrp", target=TARGET).values

    def floor() -> Call:  # which LRP with next to no epsilon is, in networks of ReLUs
        model = frozen(build())
        return lambda: x * bare_gradient(lambda z: model(z)[:, TARGET], x)

    sides = {"enodo": ours, "captum": captum, "floor": floor}
    about = f"LRP-epsilon, VGG-11 of half width{' with batch norms' if norms else ''}, 2 x 3 x 64 x 64"
    return Work(name, about, sides, faster=1.3, floor=2.2, agree=1e-3, threads=1)


WORKS = [relevance("lrp_vgg", False), relevance("lrp_vgg_norms", True)]
