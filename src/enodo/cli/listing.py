"""`enodo methods` and `enodo models`: what there is, from the methods' Cards and the table of models."""

from __future__ import annotations

import inspect
import json as jsons
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from enodo.cli.asking import afforded
from enodo.cli.console import output
from enodo.core.registry import Card, card_of
from enodo.core.registry import methods as all_methods
from enodo.io import SUBJECTS

AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="METHOD", show_default=False, help="Tell all about one.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the methods and when to use each."""
    import enodo  # noqa: F401 - registers the methods

    cards = [card_of(name)] if name else list(all_methods().values())
    if json:
        sys.stdout.write(jsons.dumps([_described(card) for card in cards], indent=2) + "\n")
        return
    console = output()
    for card in cards:
        title = f"  {card.title}" if card.title.lower() != card.name else ""
        also = f"  (also {', '.join(card.aliases)})" if card.aliases else ""
        console.print(Text.assemble((card.name, "bold"), title, (also, "dim")), soft_wrap=True)
        console.print(Text(f"    {card.when or card.summary}"), soft_wrap=True)
        if name:
            for line in (inspect.getdoc(card.fn) or "").splitlines():
                console.print(Text(f"    {line}"), soft_wrap=True)
            console.print(Text(f"    paper: {card.paper}" if card.paper else ""), soft_wrap=True)
        spelled = ", ".join(_spelled(parameter) for parameter in card.options.values())
        if spelled:
            console.print(Text(f"    options: {spelled}", "dim"), soft_wrap=True)
        if cut := _on_a_photo(card):
            console.print(Text(f"    on a photo: {cut}, unless --features says otherwise", "dim"), soft_wrap=True)


def models(json: AsJson = False) -> None:
    """List the models that come by name."""
    if json:
        listed = [{"name": name, "summary": _first(make)} for name, make in SUBJECTS.items()]
        sys.stdout.write(jsons.dumps(listed, indent=2) + "\n")
        return
    console = output()
    for name, make in SUBJECTS.items():
        console.print(Text.assemble((name, "bold"), f"\n    {_first(make)}"), soft_wrap=True)
    console.print(
        "\nalso: package.module:factory, file.py:factory, or the folder of a saved text classifier",
        style="dim",
        soft_wrap=True,
    )


def _on_a_photo(card: Card) -> str:
    """What a photo is cut into for a method, where it cannot take every square of the usual size."""
    if "cells" in card.claims:
        return "smooth masks of its own"
    return f"at most {afforded(card)} regions, which its evaluations do for" if card.wants else ""


def _first(make: Any) -> str:
    return (inspect.getdoc(make) or "").split("\n", 1)[0]


def _spelled(parameter: inspect.Parameter) -> str:
    required = parameter.default is inspect.Parameter.empty
    return parameter.name if required else f"{parameter.name}={_plain(parameter.default)}"


def _described(card: Card) -> dict[str, Any]:
    defaults = {name: parameter.default for name, parameter in card.options.items()}
    return {
        "name": card.name,
        "aliases": list(card.aliases),
        "title": card.title,
        "summary": card.summary,
        "when": card.when,
        "paper": card.paper,
        "needs": sorted(card.needs),
        "claims": sorted(card.claims),
        "options": {name: None if v is inspect.Parameter.empty else _plain(v) for name, v in defaults.items()},
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
