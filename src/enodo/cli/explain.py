"""`enodo explain`: one input, one model, one or more methods."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from enodo.cli.options import device_of, method_options, output_files, spelled, takes_baseline
from enodo.cli.outputs import say_written, write
from enodo.cli.progress import progress_bar
from enodo.cli.run import Run, answers_of, on_device, predict, target_of
from enodo.core.errors import refuse
from enodo.core.explain import explain as explain_model
from enodo.core.registry import card_of
from enodo.io import load_subject
from enodo.show.html import Entry

SOURCES = "An image file, a sentence in quotes, or a .txt, .csv, .npy or .json file. Left out: the model's own data."
Text = Annotated[str | None, typer.Argument(metavar="INPUT", show_default=False, help=SOURCES)]


def explain(
    source: Text = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A name (enodo models), package.module:factory, file.py:factory or a folder.",
        ),
    ] = "efficientnet-lite0",
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="A name (enodo methods); may be given several times."),
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="CLASS", help="predicted, an index, an index tuple like 3,1,2, or a class name.")
    ] = "predicted",
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What to compare with: a name the model knows, a number, another image, row:N."
        ),
    ] = None,
    wrt: Annotated[
        list[str] | None,
        typer.Option(
            "--wrt",
            metavar="PLACE",
            help="Where parts are looked for: input (default), embedding or a layer; repeatable.",
        ),
    ] = None,
    of: Annotated[
        str, typer.Option(metavar="PLACE", help="What is explained: output, or a layer, whose unit is the target.")
    ] = "output",
    row: Annotated[
        int | None, typer.Option(help="Row of the file or of the model's own data, from 0.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Points on the path, for methods that integrate.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Samples, for methods that draw them.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Any other option of the method; repeatable."),
    ] = None,
    batch_size: Annotated[
        str, typer.Option(metavar="ROWS", help="The most rows in one pass through the model, or auto.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of methods that draw samples.", min=0)] = 0,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, mps ...")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", metavar="FILE", help="Write .html (report), .png or .svg, .json or .safetensors; repeatable."
        ),
    ] = None,
    progress: Annotated[
        bool | None, typer.Option("--progress/--no-progress", help="Default: on where a person watches.")
    ] = None,
) -> None:
    """Explain one answer of a model: which parts of the input spoke for it, and which against.

    Examples:

      enodo explain cat.jpg --out report.html

      enodo explain "What a joy to watch!" --model minilm-sentiment

      enodo explain --model breast-cancer --row 3 --json
    """
    cards = [card_of(name) for name in method or ["integrated_gradients"]]
    chosen = method_options(cards, option or [], {"steps": steps, "samples": samples})
    files = output_files(out or [])
    places, end = [spelled(p) for p in wrt or ["input"]], spelled(of)
    limit: int | str = batch_size if batch_size == "auto" else int(batch_size) if batch_size.isdigit() else refuse(
        "--batch-size", repr(batch_size), "a whole number or auto")  # fmt: skip
    where = device_of(device)
    subject = load_subject(model)
    example = subject.read(source, row)
    reference, words = subject.baseline(baseline, example)
    example = on_device(subject, example, where)
    output = predict(subject, example)
    goal = target_of(subject, target, output, end)
    entries: list[Entry] = []
    with progress_bar(progress) as bar:
        for card, own, place in [(c, o, p) for c, o in zip(cards, chosen, strict=True) for p in places]:
            title = card.title if place in ("INPUT", "EMBEDDING") else f"{card.title} at {place}"
            compares = takes_baseline(card, own)
            result = explain_model(
                subject.model,
                example.inputs,
                card.name,
                target=goal,
                baseline=reference if compares else None,
                wrt=place,
                of=end,
                kwargs=example.kwargs,
                batch_size=limit,
                seed=seed,
                progress=bar(title),
                **own,
            )
            result.tokens = [list(example.sample.tokens)] if example.sample.tokens else None
            result.feature_names = list(example.sample.names) or None
            result.class_names = list(subject.classes) if subject.classes else None
            entries.append(Entry(result, title, card.summary, card.when, words if compares else ""))
    command = shlex.join(["enodo", *sys.argv[1:]])
    done = Run(subject, example, answers_of(subject, output, goal, end), entries, goal, command)
    say_written(write(done, files, json))
