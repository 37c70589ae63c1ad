"""Deletion and insertion areas of each method on ten photos: `python scripts/faithfulness.py [photos]`.

EfficientNet-Lite0 reads photos of scikit-image and scikit-learn; the class explained is the one it predicts. Squares of
16 x 16 pixels are taken away, or put back, in the order of the attribution, against a strongly blurred photo; areas are
of the class's probability. Writes docs/faithfulness.md, unless only some of the photos are asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import enodo
from enodo.core.features import Features
from enodo.io.packages import folder_of
from enodo.io.photos import Preprocessing, efficientnet_lite0
from enodo.metrics import curves

PAGE = Path(__file__).resolve().parent.parent / "docs" / "faithfulness.md"
SKIMAGE = "chelsea.png coffee.png rocket.jpg motorcycle_left.png camera.png astronaut.png clock_motion.png horse.png"
PREPARE = Preprocessing((224, 224), (127.0,) * 3, (128.0,) * 3, crop=224 / 256)
CAM: dict[str, Any] = {"wrt": "_conv_head", "upsample": True}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient x input": ("input_x_gradient", {}),
    "smoothgrad of gradient x input": ("smoothgrad", {"inner": "input_x_gradient", "samples": 10}),
    "integrated gradients": ("integrated_gradients", {"steps": 25}),
    "IDGI": ("idgi", {"steps": 25}),
    "guided IG": ("guided_ig", {"steps": 25}),
    "Blur IG": ("blur_ig", {"steps": 25}),
    "DeepLIFT": ("deeplift", {}),
    "guided backpropagation": ("guided_backprop", {}),
    "LRP, epsilon_plus": ("lrp", {"composite": "epsilon_plus"}),
    "LRP, epsilon_alpha2_beta1": ("lrp", {"composite": "epsilon_alpha2_beta1"}),
    "LRP, epsilon_gamma_box": ("lrp", {"composite": "epsilon_gamma_box", "box": (-127 / 128, 1.0)}),
    "Full-Grad, signed": ("full_grad", {"signed": True}),
    **{
        name: (name, CAM)
        for name in ("grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam", "eigen_cam", "finer_cam")
    },
    "eigen_grad_cam": ("eigen_grad_cam", CAM),
}


def photos() -> dict[str, Tensor]:
    """Each photo as the network wants it, (1, 3, 224, 224)."""
    skimage, sklearn = folder_of("skimage", "scikit-image", "photos"), folder_of("sklearn", "scikit-learn", "photos")
    files = [skimage / "data" / name for name in SKIMAGE.split()]
    files += [sklearn / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    return {f.stem: PREPARE.encode(PREPARE.cut(Image.open(f))) for f in files}


def areas(x: Tensor, model: Any) -> dict[str, tuple[float, float]]:
    """The areas under the deletion and the insertion curve of each method, and of random orders."""
    target = int(model(x).argmax())
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(x, 32), (224, 224), mode="bilinear")
    found = [enodo.explain(model, x, name, target=target, **options).tensor for name, options in METHODS.values()]
    told = [t.sum(1, keepdim=True).expand_as(x) / 3 for t in found]
    every = curves(
        model, x, *told, target=target, baseline=blurred, features=Features.grid(14), steps=28, draws=10,
        probability=True,
    )  # fmt: skip
    first = every[0]
    at_random = (first.deletion.control_area.mean().item(), first.insertion.control_area.mean().item())
    each = [(c.deletion.area.item(), c.insertion.area.item()) for c in every]
    return {"random order": at_random, **dict(zip(METHODS, each, strict=True))}


def main(count: int | None) -> None:
    """The table, over all photos or the first few."""
    model = efficientnet_lite0().model
    every = {name: areas(x, model) for name, x in list(photos().items())[:count]}
    lines = [
        "| method | deletion (small is good) | insertion (large is good) | better than random |",
        "|---|---|---|---|",
    ]
    chance = [a["random order"] for a in every.values()]
    for name in ("random order", *METHODS):
        pairs = [a[name] for a in every.values()]
        out, back = (sum(p[i] for p in pairs) / len(pairs) for i in (0, 1))
        won = sum(p[1] - p[0] > r[1] - r[0] for p, r in zip(pairs, chance, strict=True))
        beaten = "" if name == "random order" else f"{won} of {len(pairs)} photos"
        lines.append(f"| {name} | {out:.3f} | {back:.3f} | {beaten} |")
    table = "\n".join(lines) + "\n"
    print(table)
    if count is None:
        about = (__doc__ or "").split("\n\n", 1)[1].rsplit(" Writes", 1)[0].strip()
        PAGE.write_text(
            f"# Faithfulness\n\n{about}\n\n{table}\nWritten by `python scripts/faithfulness.py`.\n", "utf-8"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
