"""`enodo explain`, `enodo compare` and `enodo report`: one input, one model, methods; the last two with evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from enodo.cli.asking import answered
from enodo.cli.measuring import measured
from enodo.cli.options import output_files
from enodo.cli.outputs import say_written, write
from enodo.cli.request import Request, command
from enodo.core.errors import refuse

Removal = Annotated[
    list[str] | None,
    typer.Option(
        "--removal",
        metavar="NAME",
        help="What stands in for parts taken away in the curves: as --baseline; repeatable.",
    ),
]
Parts = Annotated[
    str | None, typer.Option("--parts", metavar="PARTS", help="What the curves take away together: as --features.")
]
Points = Annotated[int, typer.Option("--points", min=1, help="How many times the curves take parts away.")]
Draws = Annotated[int, typer.Option("--draws", min=1, help="Random orders that the curves stand beside.")]
OwnScale = Annotated[bool, typer.Option("--own-scale", help="Each picture on a scale of its own, not one for all.")]


@command
def explain(request: Request) -> None:
    """Explain one answer of a model: which parts of the input spoke for it, and which against.

    Examples:

      enodo explain cat.jpg --out report.html

      enodo explain "What a joy to watch!" --model minilm-sentiment

      enodo explain --model breast-cancer --row 3 --json

      enodo explain cat.jpg --top 3
    """
    files = output_files(request.out or [])
    say_written(write(answered(request), files, request.json))


@command
def compare(
    request: Request,
    parts: Parts = None,
    removal: Removal = None,
    points: Points = 14,
    draws: Draws = 10,
    own_scale: OwnScale = False,
) -> None:
    """Put methods side by side on one input and one scale, with what tells how far each can be trusted.

    Examples:

      enodo compare cat.jpg --out methods.png

      enodo compare --model wage --row 3 --method integrated_gradients --method feature_ablation
    """
    files = output_files(request.out or [])
    run = answered(request, compared=True)
    say_written(write(measured(run, request, parts, removal, points, draws, own_scale), files, request.json))


@command
def report(
    request: Request,
    parts: Parts = None,
    removal: Removal = None,
    points: Points = 14,
    draws: Draws = 10,
    own_scale: OwnScale = False,
) -> None:
    """Write a report that anyone can open: the answer, the methods side by side, and the evidence beside them.

    Without --out it is written to report.html.

    Examples:

      enodo report cat.jpg --out cat.html

      enodo report "What a joy to watch!" --model minilm-sentiment --target all
    """
    files = output_files(request.out or [Path("report.html")])
    if not any(path.suffix.lower() == ".html" for path in files):
        refuse("--out", ", ".join(map(str, files)), "a file name that ends in .html", "Write --out report.html.")
    run = answered(request, compared=True)
    done = measured(run, request, parts, removal, points, draws, own_scale)
    paths = write(done, files, request.json, quiet=True)
    if request.json:
        say_written(paths)
    else:  # the files are the result
        sys.stdout.write("".join(f"{path}\n" for path in paths))
