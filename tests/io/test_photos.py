"""Photos: what the model sees is what is shown, whatever the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from enodo.core.errors import BadArgument
from enodo.io import load_subject
from enodo.io.photos import Preprocessing, image_baselines, open_photo, photo_reader

LITE0 = Preprocessing((224, 224), (127.0,) * 3, (128.0,) * 3, crop=224 / 256)


@given(st.integers(0, 255), st.sampled_from([(127.0, 128.0), (0.0, 255.0), (123.675, 58.395)]))
def test_decode_is_the_inverse_of_encode(level: int, scale: tuple[float, float]) -> None:
    prepare = Preprocessing((4, 6), (scale[0],) * 3, (scale[1],) * 3)
    pixels = np.full((4, 6, 3), level, dtype=np.uint8)
    pixels[1, 2] = (255 - level, 0, 255)
    values = prepare.encode(pixels)
    assert values.shape == (1, 3, 4, 6)
    assert np.array_equal(prepare.decode(values), pixels)


def test_encode_is_the_published_formula() -> None:
    pixels = np.array([[[0, 127, 255]]], dtype=np.uint8)
    values = Preprocessing((1, 1), (127.0,) * 3, (128.0,) * 3).encode(pixels)
    assert torch.equal(values.flatten(), torch.tensor([-127 / 128, 0.0, 1.0]))


def test_cut_keeps_the_centre_and_the_aspect() -> None:
    wide = np.zeros((100, 300, 3), dtype=np.uint8)
    wide[:, 140:160] = 255  # a white bar at the centre, a fifth of the short side wide
    cut = Preprocessing((50, 50)).cut(Image.fromarray(wide))
    assert cut.shape == (50, 50, 3)
    white = cut[25, :, 0] > 128
    assert white.sum() == 10
    assert white[20:30].all()


@pytest.mark.parametrize(
    ("mode", "fill", "seen"),
    [
        ("L", 200, 200),
        ("RGB", (10, 20, 30), None),
        ("RGBA", (0, 0, 0, 0), 255),
        ("P", 0, 0),
        ("1", 1, 255),
        ("CMYK", (0, 0, 0, 0), 255),
    ],
)
def test_any_mode_becomes_three_channels(tmp_path, mode, fill, seen) -> None:
    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    Image.new(mode, (8, 8), fill).save(path)
    example = photo_reader(Preprocessing((4, 4)), {})(str(path), None)
    assert example.sample.photo.shape == (4, 4, 3)
    if seen is not None:
        assert (example.sample.photo == seen).all()


def test_sixteen_bits_are_not_cut_off(tmp_path) -> None:
    ramp = np.linspace(0, 60000, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    image = np.asarray(open_photo(tmp_path / "deep.png"))
    assert image.min() == 0
    assert image.max() == 255
    assert len(np.unique(image)) == 64


def test_a_photo_is_turned_upright(tmp_path) -> None:
    image = Image.new("RGB", (20, 10), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    upright = open_photo(tmp_path / "turned.png")
    assert upright.size == (10, 20)
    assert upright.getpixel((9, 0)) == (255, 255, 255)


def test_baselines_are_the_pictures_they_name() -> None:
    example = photo_reader(LITE0, {})
    names = image_baselines(LITE0)
    assert (LITE0.decode(names["black"].make(None)) == 0).all()
    assert (LITE0.decode(names["white"].make(None)) == 255).all()
    assert "grey" in names["zero"].words
    assert "127" in names["zero"].words
    assert image_baselines(Preprocessing())["zero"].words == "a black picture"
    assert callable(example)


def test_blur_keeps_the_mean_and_takes_the_detail(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    example = photo_reader(Preprocessing((224, 224)), {})(str(tmp_path / "noise.png"), None)
    blurred = Preprocessing((224, 224)).blurred(example)
    assert blurred.shape == example.inputs.shape
    assert abs(float(blurred.mean() - example.inputs.mean())) < 0.01
    assert float(blurred.std()) < 0.1 * float(example.inputs.std())


def test_what_is_not_an_image_is_refused(tmp_path) -> None:
    read = photo_reader(LITE0, {})
    (tmp_path / "words.png").write_text("these are words")
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    for name, said in {
        "words.png": "not an image",
        "half.png": "image file",
        "none.png": "No such file",
        "": "It is a folder",
    }.items():
        with pytest.raises(BadArgument, match=said):
            read(str(tmp_path / name), None)
    with pytest.raises(BadArgument, match="nothing"):
        read(None, None)


def test_efficientnet_answers_as_published() -> None:
    subject = load_subject("efficientnet-lite0")
    for source, row, name, share in (("chelsea", None, "tiger cat", 0.39), (None, 1, "espresso", 0.95)):
        example = subject.read(source, row)
        shares = example.put_to(subject.model).softmax(1)[0]
        assert subject.class_name(int(shares.argmax())) == name
        assert float(shares.max()) == pytest.approx(share, abs=0.01)
        shown = Preprocessing((224, 224), (127.0,) * 3, (128.0,) * 3).decode(example.inputs)
        assert np.array_equal(shown, example.sample.photo)
    assert subject.class_index("Tiger cat") == subject.class_index("282") == 282
    assert subject.class_index("tabby") == 281
