"""Texts of different lengths as one batch, under the names that a model gives its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import refuse

IDS, MASK = "input_ids", "attention_mask"
OTHER_NAMES = {IDS: ("ids", "tokens", "x", "input"), MASK: ("mask", "masks")}  # by which models of one's own go


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
