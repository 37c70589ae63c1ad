"""What is typed after the options, turned into values, with the nearest name where it is unknown."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from enodo.core.errors import nearest, refuse
from enodo.core.registry import Card, card_of
from enodo.core.result import PICTURES

# What an option is called elsewhere: `--samples 500` is as many evaluations to methods that count those.
ALSO = {"samples": "max_evaluations"}
SUFFIXES = (*PICTURES, ".json", ".safetensors")


def method_options(cards: Sequence[Card], pairs: Sequence[str], named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options of each method: KEY=VALUE pairs and the `named` ones that were given. Each must suit one method."""
    given = {name: value for name, value in named.items() if value is not None}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            refuse("--option", repr(pair), "KEY=VALUE", "Write for example --option steps=100.")
        given[key.strip().replace("-", "_")] = literal(value)
    known = {card.name: accepted(card, given) for card in cards}
    everything = sorted(set().union(*known.values()))
    for name, value in given.items():
        if not any(_own(name, options) for options in known.values()):
            spelling = f"--{name}" if name in named else f"--option {name}"
            hint = nearest(name, everything) if everything else "It has no options."
            refuse(spelling, repr(value), f"an option of {', '.join(known)}", hint)
    return [{own: value for name, value in given.items() if (own := _own(name, known[card.name]))} for card in cards]


def _own(name: str, options: set[str]) -> str | None:
    """What a method with these options calls the option `name`; None if it has none of the kind."""
    return next((own for own in (name, ALSO.get(name)) if own in options), None)


def accepted(card: Card, given: Mapping[str, Any]) -> set[str]:
    """The names of the options that a method takes, with those of the method inside it."""
    inner = inner_of(card, given)
    return set(card.options) | (set() if inner is card else accepted(inner, {}))


def inner_of(card: Card, given: Mapping[str, Any]) -> Card:
    """The Card of the method inside a wrapper, or the method's own."""
    if "inner" not in card.options:
        return card
    return card_of(given.get("inner", card.options["inner"].default))


def takes_baseline(card: Card, options: Mapping[str, Any]) -> bool:
    """Whether a method compares with a baseline: its own need, or that of the method inside it."""
    return bool(inner_of(card, options).needs & {"baseline", "background", "absence"})


def literal(text: str) -> Any:
    """A number, True, False, None or a tuple as Python writes it; anything else is a word."""
    lowered = {"true": True, "false": False, "none": None}.get(text.strip().lower(), text)
    if lowered is not text:
        return lowered
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def spelled(text: str) -> str:
    """A place as `Point.parse` reads it; "input", "output" and "embedding" in any case."""
    head = text.split("[", 1)[0]
    return text.replace(head, head.upper(), 1) if head.lower() in ("input", "output", "embedding") else text


def device_of(text: str) -> torch.device:
    """The device called `text`, refused where this machine does not have it."""
    try:
        device = torch.device(text)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        have = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        have += ["mps"] if torch.backends.mps.is_available() else []
        refuse("--device", repr(text), f"a device of this machine: {', '.join(have)}")
    return device


def output_files(paths: Sequence[Path]) -> list[Path]:
    """The files to write, checked before any work is done."""
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            refuse(
                "--out", repr(str(path)), f"a file name that ends in {', '.join(SUFFIXES)}", "Write --out report.html."
            )
        if not path.parent.is_dir():
            refuse("--out", repr(str(path)), "a file in a folder that exists", f"Make it first: mkdir -p {path.parent}")
        if path.is_dir():
            refuse("--out", repr(str(path)), "a file, not a folder")
    return list(paths)
