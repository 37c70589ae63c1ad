"""Deletion and insertion areas of each method on ten photos: `python scripts/faithfulness.py [photos]`.

EfficientNet-Lite0 reads photos of scikit-image and scikit-learn; the class explained is the one it predicts. Squares of
16 x 16 pixels are taken away, or put back, in the order of the attribution, against a strongly blurred photo; areas are
of the class's probability. Methods that take parts away put the same blurred photo there, so they are asked what is
measured; those that compare with a baseline have grey, unless another is named. Budgets are named where more would
change the figures. Writes docs/faithfulness.md, unless only some of the photos are asked for: half an hour on one core.
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
Areas = tuple[float, float]  # under the deletion curve, under the insertion curve
PREPARE = Preprocessing((224, 224), (127.0,) * 3, (128.0,) * 3, crop=224 / 256)
CAM: dict[str, Any] = {"wrt": "_conv_head", "upsample": True}
SIZE = "size of "  # of values whose sign is not for or against
BLURRED, OTHERS = "the photo, strongly blurred", "the other photos"  # baselines, put in for each photo
SEGMENTS: dict[str, Any] = {"baseline": BLURRED, "features": Features.superpixels(n_segments=60)}
SQUARES: dict[str, Any] = {"baseline": BLURRED, "features": Features.grid(16)}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "size of the gradient": ("gradient", {}),
    "gradient x input": ("input_x_gradient", {}),
    "smoothgrad of gradient x input": ("smoothgrad", {"inner": "input_x_gradient", "samples": 10}),
    "smoothgrad-squared": ("smoothgrad_sq", {"inner": "gradient", "samples": 10}),
    "vargrad": ("vargrad", {"inner": "gradient", "samples": 10}),
    "integrated gradients": ("integrated_gradients", {"steps": 25}),
    "integrated gradients from the blurred photo": ("integrated_gradients", {"steps": 25, "baseline": BLURRED}),
    "expected gradients, against the other photos": ("gradient_shap", {"samples": 45, "baseline": OTHERS}),
    "IDGI": ("idgi", {"steps": 25}),
    "guided IG": ("guided_ig", {"steps": 25}),
    "Blur IG": ("blur_ig", {"steps": 25}),
    "DeepLIFT": ("deeplift", {}),
    "DeepLIFT SHAP, against the other photos": ("deeplift_shap", {"baseline": OTHERS}),
    "size of guided backpropagation": ("guided_backprop", {}),
    "guided backpropagation, signed": ("guided_backprop", {}),
    "size of deconvolution": ("deconvolution", {}),
    "deconvolution, signed": ("deconvolution", {}),
    "LRP, epsilon_plus": ("lrp", {"composite": "epsilon_plus"}),
    "LRP, epsilon_alpha2_beta1": ("lrp", {"composite": "epsilon_alpha2_beta1"}),
    "LRP, epsilon_gamma_box": ("lrp", {"composite": "epsilon_gamma_box", "box": (-127 / 128, 1.0)}),
    "Full-Grad": ("full_grad", {"rescale": "layer"}),
    "Full-Grad, signed": ("full_grad", {"signed": True}),
    "Grad-CAM": ("grad_cam", CAM),
    "Grad-CAM++": ("grad_cam_plus_plus", CAM),
    "XGrad-CAM": ("xgrad_cam", CAM),
    "HiResCAM": ("hires_cam", CAM),
    "Layer-CAM": ("layer_cam", CAM),
    "Eigen-CAM": ("eigen_cam", CAM),
    "Eigen-Grad-CAM": ("eigen_grad_cam", CAM),
    "Finer-CAM": ("finer_cam", CAM),
    "Ablation-CAM": ("ablation_cam", CAM),
    "Score-CAM": ("score_cam", {**CAM, "baseline": BLURRED}),
    "size of Guided Grad-CAM": ("guided_grad_cam", {"layer": "_conv_head"}),
    "Guided Grad-CAM, signed": ("guided_grad_cam", {"layer": "_conv_head"}),
    "occlusion, windows of 32 x 32": (
        "occlusion",
        {"window": (3, 32, 32), "strides": (3, 16, 16), "baseline": BLURRED},
    ),
    "ablation of the squares": ("feature_ablation", SQUARES),
    "ablation of 60 segments": ("feature_ablation", SEGMENTS),
    "RISE, 1,000 masks": ("rise", {"max_evaluations": 1000, "baseline": BLURRED}),
    "Sobol indices of the squares, 500 evaluations": ("sobol", {**SQUARES, "max_evaluations": 500}),
    "LIME on 60 segments, 500 evaluations": ("lime", {**SEGMENTS, "max_evaluations": 500}),
    "KernelSHAP on 60 segments, 500 evaluations": ("kernel_shap", {**SEGMENTS, "max_evaluations": 500}),
    "extremal perturbation, a tenth of the photo": ("extremal_perturbation", {"baseline": BLURRED}),
    "meaningful perturbation": ("meaningful_perturbation", {"baseline": BLURRED}),
}

SIGNS = """\
A gradient's sign says whether a pixel should be lighter or darker, not whether it speaks for the class, so gradients
are ordered by their size. Guided backpropagation shows why: only positive gradients leave the first ReLU, and the
filters before it together weigh lightness negatively. So what goes back to a square is the more negative the more of
it there is (they correlate by -0.56 to -0.86 on these photos; for the gradient, by -0.10 to 0.09), and its signed
order is its order by size, turned round."""


def photos() -> dict[str, Tensor]:
    """Each photo as the network wants it, (1, 3, 224, 224)."""
    skimage, sklearn = folder_of("skimage", "scikit-image", "photos"), folder_of("sklearn", "scikit-learn", "photos")
    files = [skimage / "data" / name for name in SKIMAGE.split()]
    files += [sklearn / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    return {f.stem: PREPARE.encode(PREPARE.cut(Image.open(f))) for f in files}


def told(name: str, model: Any, x: Tensor, target: int, baselines: dict[str, Tensor]) -> Tensor:
    """What a method of the table says of each pixel, shared among its channels."""
    method, options = METHODS[name]
    if "baseline" in options:
        options = {**options, "baseline": baselines[options["baseline"]]}
    found = enodo.explain(model, x, method, target=target, **options).tensor
    found = found.abs() if name.startswith(SIZE) else found
    return found.sum(1, keepdim=True).expand_as(x) / 3


def baselines_of(x: Tensor, every: list[Tensor]) -> dict[str, Tensor]:
    """What stands in for a photo: itself blurred, or the others."""
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(x, 32), (224, 224), mode="bilinear")
    return {BLURRED: blurred, OTHERS: torch.cat([other for other in every if other is not x])}


def areas(model: Any, x: Tensor, target: int, blurred: Tensor, said: dict[str, Tensor]) -> dict[str, Areas]:
    """The areas under the deletion and the insertion curve of each method, and of random orders."""
    every = curves(
        model, x, *said.values(), target=target, baseline=blurred, features=Features.grid(16), steps=14, draws=10,
        probability=True,
    )  # fmt: skip
    first = every[0]
    at_random = (first.deletion.control_area.mean().item(), first.insertion.control_area.mean().item())
    each = [(c.deletion.area.item(), c.insertion.area.item()) for c in every]
    return {"random order": at_random, **dict(zip(said, each, strict=True))}


def table(every: list[dict[str, Areas]]) -> str:
    """The means over photos, in Markdown."""
    lines = [
        "| method | deletion (small is good) | insertion (large is good) | better than random |",
        "|---|---|---|---|",
    ]
    chance = [a["random order"] for a in every]
    for name in every[0]:
        pairs = [a[name] for a in every]
        out, back = (sum(p[i] for p in pairs) / len(pairs) for i in (0, 1))
        won = sum(p[1] - p[0] > r[1] - r[0] for p, r in zip(pairs, chance, strict=True))
        beaten = "" if name == "random order" else f"{won} of {len(pairs)} photos"
        lines.append(f"| {name} | {out:.3f} | {back:.3f} | {beaten} |")
    return "\n".join(lines) + "\n"


def page(every: list[dict[str, Areas]]) -> str:
    """The page of the documentation."""
    about = (__doc__ or "").split("\n\n", 1)[1].rsplit(" Writes", 1)[0].strip()
    return f"# Faithfulness\n\n{about}\n\n{table(every)}\n{SIGNS}\n\nWritten by `python scripts/faithfulness.py`.\n"


def main(count: int | None) -> None:
    """The table, over all photos or the first few."""
    model, every = efficientnet_lite0().model, list(photos().values())
    found = []
    for x in every[:count]:
        target, baselines = int(model(x).argmax()), baselines_of(x, every)
        said = {name: told(name, model, x, target, baselines) for name in METHODS}
        found.append(areas(model, x, target, baselines[BLURRED], said))
    print(table(found))
    if count is None:
        PAGE.write_text(page(found), "utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
