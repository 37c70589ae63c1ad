"""Draw the pictures of docs/pictures.md by running its examples: `python scripts/draw_pictures.py`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDEST, QUALITY = 900, 84  # pixels and per cent: less than 100 kB a picture, as the repository should stay small


def draw() -> None:
    """Run the examples in the folder of the pictures, then make the pictures small."""
    folder = DOCS / "images" / "pictures"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    text = (DOCS / "pictures.md").read_text("utf-8")
    space: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(code, space)  # the project's own document
    for path in folder.glob("*.png"):
        image = Image.open(path).convert("RGB")
        image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        image.save(path.with_suffix(".webp"), quality=QUALITY, method=6)
        path.unlink()


if __name__ == "__main__":
    draw()
