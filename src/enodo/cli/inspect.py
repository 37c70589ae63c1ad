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
from enodo.core.errors import BadArgument, EnodoError
from enodo.core.explain import explain
from enodo.core.points import Point, Watched
from enodo.core.targets import tensor_of
from enodo.io import Example, Subject, load_subject
from enodo.methods.maps import places_of


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
    """The last layer whose values are a map, or tokens that are its grid, at several places of which the answer hangs.

    After the last attention of a vision transformer only the class token counts, and a class map would be empty.
    """
    size = example.inputs.shape[2:]
    seen = {name: (runs, shapes[0]) for name, (runs, shapes) in _seen(subject, example).items() if shapes}
    tokens = {shape[1] for _, shape in seen.values() if len(shape) == 3}
    for name, (runs, shape) in reversed(seen.items()):
        places = places_of(shape, size)
        if len(places) == 2 and shape[2] in tokens:
            continue  # what heads of attention work on
        spelled = name if runs == 1 else f"{name}@{runs - 1}"
        if places and _counting(subject, example, spelled, places) > 1:
            return spelled
    return None


def _counting(subject: Subject, example: Example, layer: str, places: tuple[int, ...]) -> int:
    """At how many places of a layer the answer has a slope."""

    def length(answer: Any) -> Tensor:
        found: Tensor = tensor_of(answer).flatten(1).square().sum(1)
        return found

    try:
        slope = explain(
            subject.model, example.inputs, "gradient", target=length, wrt=layer, kwargs=example.kwargs, batch_size=1
        ).tensor
    except EnodoError:  # no path leads from there, or not in numbers with slopes
        return 0
    return int((slope != 0).any(dim=[d for d in range(slope.ndim) if d not in places]).sum())


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
