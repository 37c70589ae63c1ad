"""Reading plain numbers: .npy, .csv and .json files, for models that come without a description of their inputs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch

from enodo.core.errors import refuse
from enodo.io.subject import Example
from enodo.io.tables import delimiter, pick
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
            values = _cells(path)
    except (ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0].partition(";")[0].rstrip(".")  # without numpy's advice to its callers
        refuse("INPUT", repr(source), "a file of numbers, rows first", f"{reason}.")
    if values.ndim == 0 or values.dtype.kind not in "fiub":
        refuse(
            "INPUT", f"{path.name} of type {values.dtype} and shape {values.shape}", "an array of numbers, rows first"
        )
    if not values.size:
        refuse("INPUT", repr(source), "at least one row of numbers", "It holds none.")
    if values.ndim == 1:  # a single row
        values = values[None]
    index = pick(row, len(values), path.name)
    tensor = torch.from_numpy(np.ascontiguousarray(values[index : index + 1]))
    tensor = tensor.float() if tensor.is_floating_point() else tensor.long()
    sample = Sample("tensor", f"row {index} of {path.name}", names=places(tensor.shape[1:]))
    return Example(tensor, sample, source=source)


def _cells(path: Path) -> np.ndarray:
    """The numbers of a CSV file, rows first, without a first line of names."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    apart = delimiter(first)
    try:
        names = not [float(cell) for cell in first.split(apart)]
    except ValueError:
        names = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without numbers, which is told below
        return np.loadtxt(path, delimiter=apart, ndmin=2, skiprows=int(names), encoding="utf-8-sig")


def places(shape: tuple[int, ...]) -> list[str]:
    """A name for each entry of a row: its index. Rows of more than 1,000 entries are not named."""
    if np.prod(shape, dtype=int) > 1000:
        return []
    return [", ".join(map(str, index)) for index in np.ndindex(*shape)]
