"""What a text is compared with: token ids in the place of its own, or zero word vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import nearest, refuse

NAMES = ("pad", "mask", "unk", "zero")
WORDS = {
    "zero": "no words at all (zero word vectors)",
    "pad": "a text of padding only",
    "mask": "a text of masked words only",
    "unk": "a text of unknown words only",
}


def token_of(tokenizer: Any, name: str | int) -> int:
    """The id of the token a baseline is made of: by its name ("pad", "mask", "unk"), as written, or by its number."""
    if isinstance(name, int) and not isinstance(name, bool):
        if not 0 <= name < len(tokenizer):
            refuse("baseline", str(name), f"a token id from 0 to {len(tokenizer) - 1}")
        return name
    if isinstance(name, str):
        if name in NAMES:
            found = getattr(tokenizer, f"{name}_token_id", None)
            have = [n for n in known(tokenizer) if n != "zero"]
            if found is None:
                refuse(
                    "baseline",
                    f"{name!r}, a token that this tokenizer does not have",
                    f"one of {', '.join(have)}, zero",
                )
            return int(found)
        ids = tokenizer.encode(name, add_special_tokens=False)
        if len(ids) == 1:
            return int(ids[0])
        given = f"{name!r}, which this tokenizer cuts into {len(ids)} tokens"
        refuse(
            "baseline",
            given,
            f"one of {', '.join(known(tokenizer))}, a single token or a token id",
            nearest(name, NAMES),
        )
    return refuse("baseline", name, "a name, a token, a token id or ids of shape (B, T)")


def known(tokenizer: Any) -> list[str]:
    """The names of the baselines that a tokenizer has the tokens for."""
    return [n for n in NAMES if n == "zero" or getattr(tokenizer, f"{n}_token_id", None) is not None]


def replaced(ids: Tensor, keep: Tensor, token: int) -> Tensor:
    """The ids (B, T) with `token` wherever nothing is to be kept."""
    return torch.where(keep.to(ids.device), ids, token)
