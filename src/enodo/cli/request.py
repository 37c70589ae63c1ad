"""What a person can type after `enodo explain`, `compare` and `report`: one list of options for all three."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from enodo.core.errors import refuse
from enodo.io.subject import whole

SOURCES = "An image file, a sentence in quotes, or a .txt, .csv, .npy or .json file. Left out: the model's own data."
MODELS = "A name (enodo models), package.module:factory, file.py:factory or a folder."
METHODS = "A name (enodo methods), or NAME@PLACE to ask that method at a place of its own; repeatable."
TARGETS = "predicted, all, an index, an index tuple like 3,1,2, or a class name; repeatable."
BASELINES = "What to compare with: a name the model knows, a number, another image, row:N."
PLACES = "Where parts are looked for: input (default), embedding or a layer; repeatable."
ENDS = "What is explained: output, or a layer, whose unit is the target."
FEATURES = (
    "What methods that take parts away take together: squares:16, superpixels:60, pixels or windows:32:16 of a "
    "picture; words, tokens or sentences; columns; or a number of blocks."
)
FILES = "Write .html (report), .png or .svg, .json or .safetensors; repeatable."


@dataclass(frozen=True)
class Request:
    """One question as it was typed."""

    source: Annotated[str | None, typer.Argument(metavar="INPUT", show_default=False, help=SOURCES)] = None
    model: Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=MODELS)] = "efficientnet-lite0"
    method: Annotated[list[str] | None, typer.Option("--method", metavar="NAME", help=METHODS)] = None
    target: Annotated[list[str] | None, typer.Option("--target", metavar="CLASS", help=TARGETS)] = None
    top: Annotated[int | None, typer.Option("--top", min=1, help="Explain the N strongest answers.")] = None
    baseline: Annotated[str | None, typer.Option(metavar="NAME", help=BASELINES)] = None
    wrt: Annotated[list[str] | None, typer.Option("--wrt", metavar="PLACE", help=PLACES)] = None
    of: Annotated[str, typer.Option(metavar="PLACE", help=ENDS)] = "output"
    row: Annotated[
        int | None, typer.Option(help="Row of the file or of the model's own data, from 0.", show_default=False)
    ] = None
    steps: Annotated[
        int | None, typer.Option(help="Points on the path, for methods that integrate.", show_default=False)
    ] = None
    samples: Annotated[int | None, typer.Option(help="Samples or evaluations, where drawn.", show_default=False)] = None
    features: Annotated[str | None, typer.Option(metavar="PARTS", show_default=False, help=FEATURES)] = None
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Any other option of the method; repeatable."),
    ] = None
    batch_size: Annotated[
        str, typer.Option(metavar="ROWS", help="The most rows in one pass through the model, or auto.")
    ] = "auto"
    seed: Annotated[int, typer.Option(help="Of methods that draw samples.", min=0)] = 0
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, mps ...")] = "cpu"
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False
    out: Annotated[list[Path] | None, typer.Option("--out", metavar="FILE", help=FILES)] = None
    progress: Annotated[
        bool | None, typer.Option("--progress/--no-progress", help="Default: on where a person watches.")
    ] = None

    @property
    def limit(self) -> int | str:
        """The most rows of a pass."""
        if self.batch_size == "auto":
            return "auto"
        rows = whole(self.batch_size)
        if rows is None:
            refuse("--batch-size", repr(self.batch_size), "a whole number or auto")
        return rows


def command(fn: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of a `Request` besides its own; typer reads them all from its signature."""
    shared, own = inspect.signature(Request), inspect.signature(fn)
    hints = get_type_hints(Request, include_extras=True) | get_type_hints(fn, include_extras=True)
    names = [field.name for field in dataclasses.fields(Request)]

    @functools.wraps(fn)
    def run(**given: Any) -> None:
        fn(Request(**{name: given.pop(name) for name in names}), **given)

    mine = [p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "request"]
    every = [p.replace(kind=p.KEYWORD_ONLY) for p in shared.parameters.values()] + mine
    told: Any = run
    told.__signature__ = inspect.Signature([p.replace(annotation=hints[p.name]) for p in every])
    told.__annotations__ = {p.name: hints[p.name] for p in every}
    return run
