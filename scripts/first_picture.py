"""Make the README's first picture, of real answers: `python scripts/first_picture.py`.

A photo, a sentence and a table row, each explained by DeepLIFT: red spoke for the answer, blue against it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import enodo
from enodo.cli.commands import run
from enodo.io import load_subject

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "first.webp"
SENTENCE = "The story drags, but the acting is superb and the ending is beautiful."
HIGH, GAP = 420, 24  # pixels


def photo(path: Path) -> None:
    """A cat: which areas of it spoke for "tiger cat"."""
    subject = load_subject("efficientnet-lite0")
    example = subject.read(None, 0)
    why = enodo.explain(subject.model, example.inputs, "deeplift", target="predicted")
    why.class_names = subject.classes
    why.save(str(path), kind="regions", data=example.sample.photo)


def sized(path: Path, width: int | None = None, height: int | None = None) -> Image.Image:
    """A picture of some width or height."""
    image = Image.open(path).convert("RGB")
    scale = width / image.width if width else (height or image.height) / image.height
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def main() -> None:
    """The photo at the left; the sentence above the row at the right."""
    with tempfile.TemporaryDirectory() as folder:
        left, above, below = (Path(folder) / name for name in ("photo.png", "sentence.png", "row.png"))
        photo(left)
        method = ["--method", "deeplift", "--no-progress", "--out"]
        run(["explain", SENTENCE, "--model", "minilm-sentiment", *method, str(above)])
        run(["explain", "--model", "breast-cancer", "--row", "3", *method, str(below)])
        cat = sized(left, height=HIGH)
        words = sized(above, width=560)
        row = sized(below, height=HIGH - words.height - GAP)
        sheet = Image.new("RGB", (cat.width + GAP + max(words.width, row.width), HIGH), "white")
        sheet.paste(cat, (0, 0))
        sheet.paste(words, (cat.width + GAP, 0))
        sheet.paste(row, (cat.width + GAP, words.height + GAP))
        sheet.save(TARGET, quality=82)


if __name__ == "__main__":
    main()
