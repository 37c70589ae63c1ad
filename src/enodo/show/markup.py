"""HTML in which all text is escaped unless it is `Markup`: what came from data cannot become code."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY = {"br", "col", "img", "meta", "source"}  # of HTML; those of SVG are closed, or else they would hold what follows


def el(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. None among children or attributes is left out; in attribute names `class_`, `aria_label` lose `_`."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in EMPTY:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    """Children one after the other, escaped where they are not Markup; lists are flattened."""
    out: list[str] = []
    for child in children:
        if isinstance(child, (list, tuple)):
            out.append(join(*child))
        elif isinstance(child, Markup):
            out.append(child)
        elif child is not None:
            out.append(html.escape(str(child)))
    return Markup("".join(out))


def scrolled(label: str, *parts: Markup) -> Markup:
    """What scrolls by itself where it is wider than the page; the keyboard reaches it, by the name `label`."""
    return el("div", *parts, class_="scroll", tabindex=0, role="region", aria_label=label)


def picture(pixels: np.ndarray, alt: str, lossless: bool = True, dark: np.ndarray | None = None) -> Markup:
    """Pixels (H, W, 3) uint8 as an image inside the page; `dark` is shown instead where the reader's theme is dark."""
    height, width = pixels.shape[:2]
    image = el("img", src=data_url(pixels, lossless), alt=alt, width=width, height=height)
    if dark is None:
        return image
    return el("picture", el("source", srcset=data_url(dark, lossless), media="(prefers-color-scheme: dark)"), image)


def data_url(pixels: np.ndarray, lossless: bool = True) -> str:
    """Pixels as a data: URL: PNG, or JPEG where a photo's small losses do not matter."""
    from PIL import Image

    stream = io.BytesIO()
    if lossless:
        Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    else:
        Image.fromarray(pixels).save(stream, "JPEG", quality=92, subsampling=0)  # full colour: red beside blue stays so
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
