"""Texts of different lengths as one batch, under the names that a model gives its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import BadType, describe, refuse
from enodo.text.reading import Reading

IDS, MASK = "input_ids", "attention_mask"
OTHER_NAMES = {IDS: ("ids", "tokens", "x", "input"), MASK: ("mask", "masks")}  # by which models of one's own go


@dataclass(frozen=True)
class Batch:
    """Texts as a model takes them: `inputs` (B, T) under its own names, rows filled up to the longest."""

    readings: list[Reading]
    inputs: dict[str, Tensor]
    real: Tensor  # (B, T) bool: tokens, not filling
    own: Tensor  # (B, T) bool: tokens of the texts, not those that the tokenizer added

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the rows, without filling that none of them needs."""
        longest = max(len(self.readings[i].tokens) for i in rows)
        index = torch.as_tensor(list(rows))

        def cut(t: Tensor) -> Tensor:
            return t[index.to(t.device), :longest]

        inputs = {name: cut(t) for name, t in self.inputs.items()}
        return Batch([self.readings[i] for i in rows], inputs, cut(self.real), cut(self.own))


def names_of(model: Any) -> dict[str, str]:
    """By which keyword the model takes what a tokenizer gives: {"input_ids": "input_ids", ...}.

    A model of one's own may call its ids and mask otherwise; its first parameter is then the ids.
    """
    forward = model.forward if isinstance(model, nn.Module) else model
    parameters = list(inspect.signature(forward).parameters.values())
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = {name: name for name in (IDS, MASK, "token_type_ids") if name in plain}
    for name, others in OTHER_NAMES.items():
        if name not in names and (known := next((o for o in others if o in plain), None)):
            names[name] = known
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        names = {IDS: IDS, MASK: MASK} | names
    elif IDS not in names and plain:
        names[IDS] = plain[0]
    if IDS not in names:
        refuse(
            "model", "a model without named inputs", "one that takes token ids, as forward(input_ids, attention_mask)"
        )
    return names


def padded(rows: Sequence[Mapping[str, Sequence[int]]], names: Mapping[str, str], pad: int) -> dict[str, Tensor]:
    """Rows of different lengths as tensors (B, T), filled up at the end: ids with `pad`, everything else with 0."""
    longest = max(len(row[IDS]) for row in rows)

    def fill(row: Sequence[int], value: int) -> list[int]:
        return [*row, *[value] * (longest - len(row))]

    found = {name: [fill(row[name], pad if name == IDS else 0) for row in rows] for name in rows[0] if name in names}
    return {names[name]: torch.tensor(values) for name, values in found.items()}


def limit_of(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that the model takes: what its tokenizer says, and how many positions it has.

    Models in the manner of RoBERTa count positions from behind the padding index, and so have fewer than entries.
    """
    limits = []
    stated = getattr(tokenizer, "model_max_length", None)
    if isinstance(stated, int) and 0 < stated < 1_000_000:
        limits.append(stated)
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - taken)
    return min(limits, default=None)


def device_of(model: Any) -> torch.device:
    """Where the model's parameters are; the CPU for what has none."""
    if isinstance(model, nn.Module):
        for p in model.parameters():
            return p.device
    return torch.device("cpu")


def listed(text: Any, pair: Any) -> list[tuple[str, str | None]]:
    """A text, a pair, or a list of either, as a list of pairs; of a single text the second is None."""
    if isinstance(text, str):
        text, pair = [text], None if pair is None else [pair]
    elif pair is None and isinstance(text, tuple) and len(text) == 2 and all(isinstance(t, str) for t in text):
        text = [text]
    if not isinstance(text, (list, tuple)) or not text:
        given = "an empty list" if isinstance(text, (list, tuple)) else describe(text)
        refuse("text", given, "a string or a list of strings", kind=BadType)
    if pair is None:
        return [t if isinstance(t, tuple) and len(t) == 2 else (t, None) for t in text]
    if not isinstance(pair, (list, tuple)) or len(pair) != len(text):
        refuse("pair", describe(pair), f"a second text for each of the {len(text)} texts")
    return list(zip(text, pair, strict=True))


def each(given: Any, rows: int, argument: str) -> list[Any]:
    """One entry a text, of what was given once or in a list for each."""
    if isinstance(given, Tensor):
        given = given.tolist()
    if not isinstance(given, list):
        return [given] * rows
    if len(given) != rows:
        refuse(argument, f"{len(given)} of them", f"one, or one for each of the {rows} texts")
    return list(given)
