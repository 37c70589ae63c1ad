"""Tables by name: measurements of breast tumours, and what people earn. Small networks whose weights are shipped."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import nearest, refuse
from enodo.io.packages import folder_of, need
from enodo.io.subject import Example, Reference, Subject
from enodo.io.weights import load_weights
from enodo.show.sample import Sample

Row = Mapping[str, str]  # one row of a table as text, by column name


@dataclass(frozen=True)
class Table:
    """How a table becomes numbers: `levels[name]` is None for a number, or the values a category can take.

    A category fills one column per level (one-hot). Every column is then centred and scaled by `mean` and `std` of the
    training rows, so that zero means "as the average row" for each of them.
    """

    levels: Mapping[str, Sequence[str] | None]
    mean: Tensor
    std: Tensor

    @property
    def groups(self) -> list[int]:
        """For each model column, the feature it belongs to."""
        return [i for i, known in enumerate(self.levels.values()) for _ in range(len(known) if known else 1)]

    def raw(self, row: Row) -> list[float]:
        """The model columns of `row` before scaling."""
        columns: list[float] = []
        for name, known in self.levels.items():
            cell = row[name].strip()
            if not cell:
                refuse(f"column {name!r}", "nothing in this row", "a value", "No value is filled in for one missing.")
            if known is None:
                columns.append(number(cell, name))
            elif cell in known:
                columns.extend(float(cell == level) for level in known)
            else:
                refuse(f"column {name!r}", repr(cell), f"one of {', '.join(known)}", nearest(cell, known))
        return columns

    def encode(self, row: Row) -> Tensor:  # -> (1, columns)
        return ((torch.tensor([self.raw(row)], dtype=torch.float64) - self.mean) / self.std).float()


def number(cell: str, name: str) -> float:
    """`cell` as a finite number."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        refuse(f"column {name!r}", repr(cell), "a number")
    return value


def read_csv(source: str, row: int | None, names: Sequence[str]) -> tuple[Row, str]:
    """Row `row` (0 by default, counted below the header) of a CSV file that has the columns `names`."""
    path = Path(source)
    if not path.is_file():
        refuse(
            "INPUT",
            repr(source),
            "an existing CSV file, or no INPUT and --row N of the model's own data",
            "No such file.",
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter(header), restval="")
            rows, found = list(reader), reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error):
        refuse("INPUT", repr(source), "a CSV file in UTF-8 with a header line")
    missing = [name for name in names if name not in found]
    if missing or not rows:
        given = f"{path.name} without column {missing[0]!r}" if missing and rows else f"{path.name} without a row"
        hint = nearest(missing[0], found) if missing and rows else "The first line names the columns."
        refuse("INPUT", given, f"the columns {', '.join(names)}", hint)
    twice = [name for name in names if found.count(name) > 1]
    if twice:
        refuse("INPUT", f"{path.name} with several columns {twice[0]!r}", "one column of each name")
    cells = rows[pick(row, len(rows), path.name)]
    if None in cells:  # where the reader puts cells that have no name
        given = f"{path.name}, whose row {row or 0} has more than the {len(found)} cells of its first line"
        refuse("INPUT", given, "a cell for each column", "Put cells with a comma in quotes.")
    return cells, f"row {row or 0} of {path.name}"


def delimiter(line: str) -> str:
    """What keeps the cells of a CSV file apart, by one line of it: commas, semicolons or tabs."""
    return max(",;\t", key=line.count)


def pick(row: int | None, count: int, where: str) -> int:
    """`row`, 0 by default, refused if `where` has no such row."""
    row = row or 0
    if not 0 <= row < count:
        refuse("--row", str(row), f"a row from 0 to {count - 1} of {where}")
    return row


def table_reader(
    table: Table, own: Sequence[Row], name: str, truth: Callable[[Row], str] | None = None
) -> Callable[..., Example]:
    """A reader of one row: of the subject's `own` rows, or of a CSV file with the same columns."""

    def read(source: str | None, row: int | None) -> Example:
        if source is None:
            cells, title = own[pick(row, len(own), name)], f"row {row or 0} of {name}"
        else:
            cells, title = read_csv(source, row, list(table.levels))
        answer = truth(cells) if truth and source is None else None
        shown = [cells[feature] for feature in table.levels]
        sample = Sample("table", title, names=list(table.levels), cells=shown, groups=table.groups, truth=answer)
        return Example(table.encode(cells), sample, source=source)

    return read


def network(weights: Mapping[str, Tensor]) -> nn.Sequential:
    """Two linear layers with a ReLU between them, with trained weights."""
    hidden, columns = weights["0.weight"].shape
    model = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, weights["2.weight"].shape[0]))
    model.load_state_dict({key: weights[key] for key in model.state_dict()})
    return model.eval()


def average(of: str, point: Tensor | None = None) -> Reference:
    return Reference(f"the average {of}", lambda example: point)


# -- breast cancer ----------------------------------------------------------------------------------------------------


def breast_cancer_rows() -> tuple[list[Row], list[str]]:
    """(569 rows of 30 measurements and a diagnosis, the names of the measurements), from scikit-learn."""
    need("sklearn", "scikit-learn", "model 'breast-cancer'")
    from sklearn.datasets import load_breast_cancer

    data: Any = load_breast_cancer()
    names = [str(name) for name in data.feature_names]
    rows = [dict(zip(names, (f"{v:.5g}" for v in values), strict=True)) for values in data.data]
    for row, label in zip(rows, data.target, strict=True):
        row["diagnosis"] = str(data.target_names[label])
    return list(rows), names


def breast_cancer() -> Subject:
    """Malignant or benign? Thirty measurements of cell nuclei from one needle biopsy."""
    rows, names = breast_cancer_rows()
    weights, facts = load_weights("breast_cancer")
    table = Table(dict.fromkeys(names), weights["mean"], weights["std"])
    baselines = {"average": average("tumour of the training data")}
    baselines |= {c: average(f"{c} tumour", weights[f"average {c}"].float()[None]) for c in facts["classes"]}
    return Subject(
        name="breast-cancer",
        model=network(weights),
        kind="table",
        read=table_reader(table, rows, "breast-cancer", lambda row: row["diagnosis"]),
        title="A small network trained on the Wisconsin breast-cancer data",
        classes=facts["classes"],
        baselines=baselines,
        facts=f"right on {facts['accuracy']:.1%} of {facts['held_out']} held-out tumours "
        f"(always the commoner answer: {facts['majority']:.1%})",
    )


# -- wages ------------------------------------------------------------------------------------------------------------

WAGE_NUMBERS = ("year", "age")
WAGE_CATEGORIES = ("maritl", "race", "education", "jobclass", "health", "health_ins")


def wage_rows() -> list[Row]:
    """3,000 men of the Mid-Atlantic region and what they earned, from the ISLP package."""
    path = folder_of("ISLP", "ISLP", "model 'wage'", install="--no-deps ISLP") / "data" / "Wage.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {key: (cell.split(". ", 1)[1] if key in WAGE_CATEGORIES else cell) for key, cell in row.items()} for row in rows
    ]


def wage_levels(rows: Sequence[Row]) -> dict[str, list[str] | None]:
    """Columns of the wage table: numbers, and categories with the values that occur."""
    levels: dict[str, list[str] | None] = dict.fromkeys(WAGE_NUMBERS)
    return levels | {name: sorted({row[name] for row in rows}) for name in WAGE_CATEGORIES}


def wage() -> Subject:
    """What does he earn? Wages of 3,000 men from age, education, job and health."""
    rows = wage_rows()
    weights, facts = load_weights("wage")
    table = Table(wage_levels(rows), weights["mean"], weights["std"])
    return Subject(
        name="wage",
        model=network(weights),
        kind="table",
        read=table_reader(table, rows, "wage", lambda row: f"{float(row['wage']):.1f} thousand dollars a year"),
        title="A small network trained on a wage survey",
        unit="thousand dollars a year",
        baselines={"average": average("person of the training data")},
        facts=f"explains {facts['r2']:.0%} of the variance of {facts['held_out']} held-out wages "
        f"(typical error {facts['rmse']:.0f} thousand dollars)",
    )
