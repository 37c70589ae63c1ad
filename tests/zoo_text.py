"""Small models that read token ids, in the ways that models look them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enodo.testing import Case
from enodo.testing.models import seeded

IDS = torch.tensor([[1, 5, 3, 0, 2], [8, 1, 1, 7, 4], [2, 6, 0, 3, 3]])


class Reader(nn.Module):
    """A small reader of vectors (B, n, 4), with `look` to look ids up in `words`; subclasses differ there only."""

    def __init__(self, look: Callable[[Reader, Tensor], Tensor], pad: int | None = None) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(12, 4, padding_idx=pad), nn.Embedding(5, 4)
        self.mix, self.head, self.look = nn.Linear(4, 4), nn.Linear(4, 3), look

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.look(self, ids)
        h = h + self.places(torch.arange(h.shape[1], device=h.device))
        h = torch.tanh(self.mix(h)) * (1 if mask is None else mask[..., None])
        return self.head(h.sum(1))


class Bag(nn.Module):
    """`nn.EmbeddingBag` of bags of equal length."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(12, 4, mode=mode), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.bag(ids)))


class SequenceFirst(nn.Module):
    """Ids turned to (n, B) before they are looked up, as recurrent layers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rnn, self.head = nn.Embedding(12, 4), nn.GRU(4, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.words(ids.T))[0][-1])


class WithNumbers(nn.Module):
    """Ids beside numbers, as tables with categories have them."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.numbers, self.head = nn.Embedding(12, 3), nn.Linear(2, 3), nn.Linear(3, 3)

    def forward(self, *, kind: Tensor, number: Tensor) -> dict[str, Tensor]:
        return {"scores": self.head(torch.tanh(self.kinds(kind).sum(1) + self.numbers(number)))}


def _plain(m: Reader, ids: Tensor) -> Tensor:
    return m.words(ids)


def _two(m: Reader, ids: Tensor) -> Tensor:
    return m.words(ids) * torch.sigmoid(F.embedding(ids, m.words.weight.flip(0)))


def _offset(m: Reader, ids: Tensor) -> Tensor:
    return m.words((ids + 2).clamp(max=11))


def _part(m: Reader, ids: Tensor) -> Tensor:
    return m.words(ids[:, 1:4])


def _flat(m: Reader, ids: Tensor) -> Tensor:
    return m.words(ids.reshape(-1)).view(*ids.shape, 4)


def _indexed(m: Reader, ids: Tensor) -> Tensor:
    return m.words.weight[ids]


def _selected(m: Reader, ids: Tensor) -> Tensor:
    return m.words.weight.index_select(0, ids.flatten()).unflatten(0, ids.shape)


def _started(m: Reader, ids: Tensor) -> Tensor:
    start = torch.full((len(ids), 1), 9, device=ids.device)
    return m.words(torch.cat([start, ids[:, :-1]], 1))


def _reader(name: str, look: Callable[[Reader, Tensor], Tensor], **more: Any) -> Callable[[], Case]:
    layers = {"layers": ("mix", "head"), "neuron": (1, 2)}
    return lambda: Case(name, seeded(Reader(look, **more)), IDS, 1, **layers)


def _masked() -> Case:
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    return Case("padded", seeded(Reader(_plain, pad=0)), {"ids": IDS, "mask": mask}, "predicted", layers=("head",))


def _numbers() -> Case:
    inputs = {"kind": IDS[:, :2], "number": torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]], dtype=torch.float64)}
    return Case("ids and numbers", seeded(WithNumbers()), inputs, [2, 0, 1], layers=("head",))


def _bert() -> Case:
    """A small BERT, and the mask that a tokenizer gives with the ids."""
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    config = transformers.BertConfig(vocab_size=12, max_position_embeddings=8, num_labels=3, **size)
    model = seeded(transformers.BertForSequenceClassification(config), 0.4)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    batch = transformers.BatchEncoding({"input_ids": IDS, "attention_mask": mask})
    return Case("BERT", model, batch, 2, layers=("bert.encoder.layer.0", "bert.pooler"), neuron=(1, 3), smooth=False)


def _gpt2() -> Case:
    """A small GPT-2; the next token's score."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=12, n_positions=8, n_embd=8, n_layer=2, n_head=2, use_cache=False)
    model = seeded(transformers.GPT2LMHeadModel(config), 0.4)
    more = {"layers": ("transformer.ln_f",), "neuron": (1, 3), "smooth": False}
    return Case("GPT-2", model, {"input_ids": IDS}, lambda out: out.logits[:, -1, 4], **more)


TEXTS: dict[str, Callable[[], Case]] = {
    "plain": _reader("plain", _plain),
    "two lookups": _reader("two lookups", _two),
    "offset": _reader("offset", _offset),
    "a part of the ids": _reader("a part of the ids", _part),
    "flat": _reader("flat", _flat),
    "weight[ids]": _reader("weight[ids]", _indexed),
    "index_select": _reader("index_select", _selected),
    "a start token": _reader("a start token", _started),
    "bag": lambda: Case("bag", seeded(Bag("mean")), IDS, 1, layers=("head",), neuron=1),
    "summed bag": lambda: Case("summed bag", seeded(Bag("sum")), IDS, 1, layers=("head",), neuron=1),
    "sequence first": lambda: Case("sequence first", seeded(SequenceFirst()), IDS, 1, layers=("head",), neuron=1),
    "padded": _masked,
    "ids and numbers": _numbers,
    "BERT": _bert,
    "GPT-2": _gpt2,
}
