"""`enodo inspect MODEL`: the layers that `--wrt` and `--of` can name, with what each returns."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from enodo.cli.console import output
from enodo.core import tree as trees
from enodo.core.errors import BadArgument
from enodo.core.points import Point, Watched
from enodo.io import Example, Subject, load_subject


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As --model of enodo explain.", show_default=False)],
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", show_default=False, help="What to run it on.")
    ] = None,
    row: Annotated[
        int | None, typer.Option(help="Row of the file or of the model's own data.", show_default=False)
    ] = None,
    depth: Annotated[int, typer.Option(help="Levels of layers inside layers to list; 0 for all.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the layers of a model, as --wrt and --of name them, with the shapes that one run shows."""
    subject = load_subject(model)
    if source is None and subject.kind == "text":
        source = "An example."
    try:
        example = subject.read(source, row)
    except BadArgument:
        if source is not None or row is not None:
            raise
        example = None
    layers = [entry for entry in _layers(subject, example) if not depth or entry["point"].count(".") < depth]
    if json:
        told = {"schema": "enodo.layers/1", "model": subject.name, "layers": layers}
        sys.stdout.write(jsons.dumps(told, indent=2) + "\n")
        return
    console = output()
    table = Table(box=None, pad_edge=False)
    for name in ("point", "type", "parameters", "output", "runs"):
        table.add_column(name, justify="right" if name in ("parameters", "runs") else "left", overflow="fold")
    for layer in layers:
        shapes = ", ".join(map(str, layer["output"])) if layer["output"] else "-"
        runs = "" if layer["runs"] == 1 else str(layer["runs"])
        table.add_row(Text(layer["point"], "bold"), layer["type"], f"{layer['parameters']:,}", Text(shapes), runs)
    console.print(table)
    if example is None:
        console.print("Shapes need a run: give an INPUT.", style="dim")


def last_map(subject: Subject, example: Example) -> str | None:
    """The last layer to run whose output is a map (1, C, h, w) of more than one place: where class maps look."""
    seen = _seen(subject, example)
    maps = [name for name, (_, shapes) in seen.items() if any(len(s) == 4 and min(s[2:]) > 1 for s in shapes[:1])]
    if not maps:
        return None
    runs = seen[maps[-1]][0]
    return maps[-1] if runs == 1 else f"{maps[-1]}@{runs - 1}"


def _layers(subject: Subject, example: Example | None) -> Iterator[dict[str, Any]]:
    """Each layer by its name: type, parameters within it, shapes of its last output, how often it ran."""
    seen = {} if example is None else _seen(subject, example)
    for name, module in subject.model.named_modules():
        if name:
            runs, shapes = seen.get(name, (0, []))
            count = sum(p.numel() for p in module.parameters())
            yield {"point": name, "type": _type(module), "parameters": count, "output": shapes, "runs": runs}


def _seen(subject: Subject, example: Example) -> dict[str, tuple[int, list[list[int]]]]:
    """(runs, shapes of the last output) of each layer that runs, in the order in which they last ended."""
    seen: dict[str, tuple[int, list[list[int]]]] = {}

    def watch(name: str) -> Any:
        def visit(value: Any, call: int) -> Any:
            shapes = [list(leaf.shape) for _, leaf in trees.leaves(value) if isinstance(leaf, Tensor)]
            seen.pop(name, None)
            seen[name] = (call + 1, shapes)
            return value

        return visit

    layers = [(Point(module), watch(name)) for name, module in subject.model.named_modules() if name]
    with Watched(layers):
        example.put_to(subject.model)
    return seen


def _type(module: nn.Module) -> str:
    return type(module).__name__
