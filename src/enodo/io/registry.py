"""Models by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from enodo.core.errors import nearest, refuse
from enodo.io.photos import efficientnet_lite0
from enodo.io.sentiment import minilm_sentiment
from enodo.io.subject import Subject
from enodo.io.tables import breast_cancer, wage

SUBJECTS: dict[str, Callable[[], Subject]] = {
    "efficientnet-lite0": efficientnet_lite0,
    "minilm-sentiment": minilm_sentiment,
    "breast-cancer": breast_cancer,
    "wage": wage,
}


def load_subject(spec: str) -> Subject:
    """The model called `spec`: a name of `SUBJECTS`, `module:factory`, `file.py:factory` or a Hugging Face folder."""
    if spec in SUBJECTS:
        return SUBJECTS[spec]()
    if Path(spec).is_dir():
        from enodo.io.text import folder_subject

        return folder_subject(Path(spec))
    if ":" in spec:
        from enodo.io.custom import from_spec

        return from_spec(spec)
    expected = "a model by name, package.module:factory, file.py:factory or a folder with a saved text classifier"
    return refuse("--model", repr(spec), expected, nearest(spec, SUBJECTS))
