"""Small trained weights that travel with the package, each with the figures its training script measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).parent


def load_weights(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of `name` and the facts stored beside them (held-out score, number of rows, seed, source)."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        return tensors, json.loads(file.metadata()["facts"])
