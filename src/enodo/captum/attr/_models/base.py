"""Embeddings as inputs: a stand-in for an embedding layer that takes the vectors themselves.

Methods of this library explain token ids without it, at the embedding they reach; it serves scripts that have it.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import nearest, refuse


class InterpretableEmbeddingBase(nn.Module):
    """Stands in the place of `embedding`, named `full_name` in the model, and returns the vectors it is called with."""

    def __init__(self, embedding: Any, full_name: str) -> None:
        super().__init__()
        self.num_embeddings = getattr(embedding, "num_embeddings", None)
        self.embedding_dim = getattr(embedding, "embedding_dim", None)
        self.embedding = embedding
        self.full_name = full_name

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The first argument, positional or named, as it is."""
        if not inputs and not kwargs:
            refuse("inputs", "no argument", "the embedding vectors, as the first argument")
        if len(inputs) + len(kwargs) > 1:
            warnings.warn(
                "Only the first argument is taken as the embedding vectors; the others are ignored.", stacklevel=2
            )
        return inputs[0] if inputs else next(iter(kwargs.values()))

    def indices_to_embeddings(self, *input: Any, **kwargs: Any) -> Any:
        """The vectors (B, T, D) that the embedding itself gives for ids (B, T)."""
        return self.embedding(*input, **kwargs)


class TokenReferenceBase:
    """Reference token ids for a text: one token, [PAD] say, repeated."""

    def __init__(self, reference_token_idx: int = 0) -> None:
        self.reference_token_idx = reference_token_idx

    def generate_reference(self, sequence_length: int, device: torch.device) -> Tensor:
        """Ids (sequence_length,)."""
        return torch.full((sequence_length,), self.reference_token_idx, dtype=torch.long, device=device)


def configure_interpretable_embedding_layer(
    model: nn.Module, embedding_layer_name: str = "embedding"
) -> InterpretableEmbeddingBase:
    """Put a stand-in in the place of the named layer, until `remove_interpretable_embedding_layer`."""
    parent, name = _place(model, embedding_layer_name)
    layer = getattr(parent, name)
    if isinstance(layer, InterpretableEmbeddingBase):
        refuse(
            "embedding_layer_name",
            f"{embedding_layer_name!r}, which is configured already",
            "an embedding layer of the model",
            "Call remove_interpretable_embedding_layer first.",
        )
    warnings.warn(
        f"The layer {embedding_layer_name!r} now takes embedding vectors instead of token ids. Put it back with "
        "remove_interpretable_embedding_layer; or leave the model as it is and explain the ids directly.",
        stacklevel=2,
    )
    stand_in = InterpretableEmbeddingBase(layer, embedding_layer_name)
    setattr(parent, name, stand_in)
    return stand_in


def remove_interpretable_embedding_layer(model: nn.Module, interpretable_emb: InterpretableEmbeddingBase) -> None:
    """Put the embedding layer back in its place."""
    parent, name = _place(model, interpretable_emb.full_name)
    setattr(parent, name, interpretable_emb.embedding)


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds the layer at the dotted `path`, and the layer's name in it."""
    holder, _, name = path.rpartition(".")
    try:
        model.get_submodule(path)
    except AttributeError:
        names = [known for known, _ in model.named_modules() if known]
        raise AttributeError(f"{type(model).__name__} has no layer {path!r}. {nearest(path, names)}") from None
    return model.get_submodule(holder), name
