"""Reading plain numbers: .npy, .csv and .json files, for models that come without a description of their inputs."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import torch

from enodo.core.errors import BadArgument, refuse
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
    values, names = _numbers(path)
    if values.ndim == 0 or values.dtype.kind not in "fiub":
        refuse(
            "INPUT", f"{path.name} of type {values.dtype} and shape {values.shape}", "an array of numbers, rows first"
        )
    if not values.size:
        refuse("INPUT", repr(source), "at least one row of numbers", "It holds none.")
    if values.ndim == 1:  # a single row
        values = values[None]
    index = pick(row, len(values), path.name)
    picked = values[index : index + 1]
    tensor = torch.from_numpy(picked.astype(np.float32 if picked.dtype.kind == "f" else np.int64))
    sample = Sample("tensor", f"row {index} of {path.name}", names=names or places(tensor.shape[1:]))
    return Example(tensor, sample, source=source)


def _numbers(path: Path) -> tuple[np.ndarray, list[str]]:
    """The array in a file, and the names of its columns where the file has them."""
    names: list[str] = []
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            values = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)
        else:
            values, names = _cells(path)
    except BadArgument:
        raise
    except UnicodeDecodeError:
        advice = 'For pictures the factory of --model returns facts too: return model, {"size": (224, 224)}'
        refuse("INPUT", repr(str(path)), "a .npy, .csv or .json file of numbers", advice)
    except (ValueError, TypeError, OSError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0].partition(";")[0].partition(". ")[0]  # without numpy's advice to callers
        refuse("INPUT", repr(str(path)), "a file of numbers, rows first", f"{reason.rstrip('.')}.")
    if not isinstance(values, np.ndarray):  # as of an .npz file under another name
        refuse("INPUT", repr(str(path)), "one array of numbers, rows first", f"It holds {', '.join(values)}.")
    return values, names


def _cells(path: Path) -> tuple[np.ndarray, list[str]]:
    """The numbers of a CSV file, rows first, and the names of its columns, if its first line has them."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    apart = delimiter(first)
    named = [not _is_number(cell) for cell in first.split(apart)]
    if any(named) and not all(named):
        given = f"{path.name}, whose first line has {' '.join(first.split())[:60]!r}"
        refuse("INPUT", given, "numbers alone, or names alone", "Put names that are numbers in quotes; fill in gaps.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without numbers, which is told below
        values = np.loadtxt(path, delimiter=apart, ndmin=2, skiprows=int(all(named)), encoding="utf-8-sig")
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=apart), [])]
    return values, cells if all(named) and len(cells) == values.shape[1] else []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def places(shape: tuple[int, ...]) -> list[str]:
    """A name for each entry of a row: its index. Rows of more than 1,000 entries are not named."""
    if np.prod(shape, dtype=int) > 1000:
        return []
    return [", ".join(map(str, index)) for index in np.ndindex(*shape)]
