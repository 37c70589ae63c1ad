"""Fonts for the letters of a text: matplotlib has some of them, the machine perhaps those of other scripts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INVISIBLE = {0x200C, 0x200D, 0xFE0F}  # joiners, and the sign for a coloured emoji
BASE = ("DejaVu Sans Mono", "DejaVu Sans")  # these come with matplotlib; the first has letters of equal width


@functools.cache
def letters_of(path: str) -> frozenset[int]:
    """The code points that a font file has letters for."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a file that is listed and cannot be read
        return frozenset()


@functools.cache
def base_letters() -> tuple[frozenset[int], frozenset[int]]:
    """The letters of equal width, and all those of the fonts that come with matplotlib."""
    from matplotlib.font_manager import FontProperties, findfont

    equal, wide = (letters_of(findfont(FontProperties(family=name))) for name in BASE)
    return equal, equal | wide


def fonts_for(text: str) -> tuple[list[str], str]:
    """(families in the order in which letters are looked for, letters that no installed font has)."""
    from matplotlib.font_manager import fontManager

    missing = {ord(c) for c in set(text) if not c.isspace()} - base_letters()[1] - INVISIBLE
    families = list(BASE)
    if missing:
        for entry in _likely(fontManager.ttflist):
            found = missing & letters_of(entry.fname)
            if found and entry.name not in families:
                families.append(entry.name)
                missing -= found
            if not missing:
                break
    return families, "".join(map(chr, sorted(missing)))


def _likely(entries: Sequence[Any]) -> list[Any]:
    """One plain font of each family, those of many scripts first."""
    plain: dict[str, Any] = {}
    for entry in entries:
        regular = entry.style == "normal" and str(entry.weight) in ("400", "normal", "regular", "book")
        if regular and not entry.name.startswith("Last Resort") and Path(entry.fname).is_file():
            plain.setdefault(entry.name, entry)
    many = ("noto", "cjk", "wenquanyi", "source han", "unifont", "arial unicode", "yahei", "hiragino", "gothic")
    return sorted(plain.values(), key=lambda e: not any(word in e.name.lower() for word in many))
