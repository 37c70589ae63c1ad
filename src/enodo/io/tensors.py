"""Reading plain numbers: .npy, .csv and .json files, for models that come without a description of their inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from enodo.core.errors import refuse
from enodo.io.subject import Example
from enodo.io.tables import pick
from enodo.show.sample import Sample


def tensor_reader(source: str | None, row: int | None) -> Example:
    """One row, (1, ...), of the numbers in a file, whose first dimension counts rows."""
    if source is None:
        refuse("INPUT", "nothing", "the name of a .npy, .csv or .json file of numbers")
    path = Path(source)
    if not path.is_file():
        refuse("INPUT", repr(source), "an existing .npy, .csv or .json file", "No such file.")
    if not path.stat().st_size:
        refuse("INPUT", repr(source), "at least one row of numbers", "The file is empty.")
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            values = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)
        else:
            values = np.loadtxt(path, delimiter=",", ndmin=2, skiprows=_header(path))
    except (ValueError, TypeError, OSError) as error:
        refuse("INPUT", repr(source), "a file of numbers, rows first", f"{str(error).splitlines()[0]}.")
    if values.ndim == 0 or values.dtype.kind not in "fiub":
        refuse(
            "INPUT", f"{path.name} of type {values.dtype} and shape {values.shape}", "an array of numbers, rows first"
        )
    if values.ndim == 1:  # a single row
        values = values[None]
    index = pick(row, len(values), path.name)
    tensor = torch.from_numpy(np.ascontiguousarray(values[index : index + 1]))
    tensor = tensor.float() if tensor.is_floating_point() else tensor.long()
    sample = Sample("tensor", f"row {index} of {path.name}", names=places(tensor.shape[1:]))
    return Example(tensor, sample, source=source)


def _header(path: Path) -> int:
    """1 if the first line holds names, else 0."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline().split(",")
    try:
        [float(cell) for cell in first]
    except ValueError:
        return 1
    return 0


def places(shape: tuple[int, ...]) -> list[str]:
    """A name for each entry of a row: its index. Rows of more than 1,000 entries are not named."""
    if np.prod(shape, dtype=int) > 1000:
        return []
    return [", ".join(map(str, index)) for index in np.ndindex(*shape)]
