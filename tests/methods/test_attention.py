"""Attention as explanation: by hand on two layers, on transformers as they are, however attention is written."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing import LAWS, Case, Trial
from enodo.testing.models import normal, seeded

METHODS = ("raw_attention", "attention_rollout", "gradient_rollout")


class Two(nn.Module):
    """Two layers of attention with a residual path between them, (B, T, 4) -> (B, 3), read at the first token.

    Where no token looks ahead, it is read at the last.

    `how` says how it is written; whatever it is, the numbers are the same.
    """

    def __init__(self, how: str = "written out", heads: int = 2, causal: bool = False) -> None:
        super().__init__()
        self.how, self.heads, self.causal = how, heads, causal
        self.layers = nn.ModuleList(nn.Linear(4, 12) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def probabilities(self, h: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values (B, H, T, d) and attention (B, H, T, T)."""
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in layer(h).chunk(3, 2))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if self.causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
        return q, k, v, scores.softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.layers:
            q, k, v, p = self.probabilities(h, layer)
            if self.how == "one operation":
                out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            elif self.how == "an einsum":
                out = torch.einsum("bhqk,bhkd->bhqd", p, v)
            elif self.how == "heads among the rows":
                out = torch.bmm(F.dropout(p.flatten(0, 1), 0.1, self.training), v.flatten(0, 1)).view(v.shape)
            elif self.how == "transposed":
                out = torch.matmul(v.mT, p.transpose(-1, -2)).mT
            else:
                out = p.to(v.dtype) @ v
            h = h + torch.tanh(out.transpose(1, 2).flatten(2))
        return self.head(h[:, -1 if self.causal else 0])

    def by_hand(self, x: Tensor, target: int) -> tuple[list[Tensor], list[Tensor]]:
        """The attention of both layers and its gradient, each (B, H, T, T)."""
        h, ps = x, []
        for layer in self.layers:
            _, _, v, p = self.probabilities(h, layer)
            ps.append(p)
            h = h + torch.tanh((p @ v).transpose(1, 2).flatten(2))
        grads = torch.autograd.grad(self.head(h[:, 0])[:, target].sum(), ps)
        return [p.detach() for p in ps], list(grads)


def scores(model: Any, x: Any, method: str, **options: Any) -> Tensor:
    found = enodo.explain(model, x, method, **{"target": 1, **options})
    return found.tensor[..., 0]


@functools.cache
def two(how: str = "written out", causal: bool = False) -> tuple[Two, Tensor]:
    return seeded(Two(how, causal=causal)), normal(3, 5, 4)  # type: ignore[return-value]


@pytest.mark.parametrize("how", ["written out", "one operation", "an einsum", "heads among the rows", "transposed"])
def test_by_hand_however_it_is_written(how: str) -> None:
    model, x = two(how)
    (p1, p2), (g1, g2) = model.by_hand(x, 1)
    eye = torch.eye(5, dtype=x.dtype)
    torch.testing.assert_close(scores(model, x, "raw_attention", token=3), p2.mean(1)[:, 3])
    rolled = (p2.mean(1) + eye) / 2 @ ((p1.mean(1) + eye) / 2)
    torch.testing.assert_close(scores(model, x, "attention_rollout"), rolled[:, 0])
    weighed = (eye + (p2 * g2).clamp(min=0).mean(1)) @ (eye + (p1 * g1).clamp(min=0).mean(1)) - eye
    torch.testing.assert_close(scores(model, x, "gradient_rollout"), weighed[:, 0])


def test_options() -> None:
    model, x = two()
    (p1, p2), (g1, _) = model.by_hand(x, 1)
    raw = functools.partial(scores, model, x, "raw_attention")
    torch.testing.assert_close(raw(layer=0, heads="max"), p1.amax(1)[:, 0])
    torch.testing.assert_close(raw(layer=1, heads="min"), p2.amin(1)[:, 0])
    torch.testing.assert_close(raw(heads=[1]), p2[:, 1, 0])
    torch.testing.assert_close(raw(token="mean"), p2.mean((1, 2)))
    torch.testing.assert_close(raw(token=[4, 0, -2]), p2.mean(1)[range(3), [4, 0, 3]])
    first = scores(model, x, "gradient_rollout", layers=[0])
    torch.testing.assert_close(first, (p1 * g1).clamp(min=0).mean(1)[:, 0])
    half = scores(model, x, "attention_rollout", layers=slice(1), discard=0.52)  # 13 of 25
    kept = p1.mean(1)
    kept = torch.where(kept > kept.flatten(1).sort(1).values[:, 12, None, None], kept, 0) + torch.eye(5)
    torch.testing.assert_close(half, (kept / kept.sum(2, keepdim=True))[:, 0])
    torch.testing.assert_close(scores(model, x, "attention_rollout").sum(1), torch.ones(3, dtype=x.dtype))


def test_from_a_layer_on() -> None:
    """Asked at the second layer's input, only the attention after it counts."""
    model, x = two()
    (_, p2), _ = model.by_hand(x, 1)
    found = scores(model, x, "attention_rollout", wrt="layers.1:in")
    torch.testing.assert_close(found, ((p2.mean(1) + torch.eye(5)) / 2)[:, 0])


def test_where_no_token_looks_ahead_the_last_is_read() -> None:
    model, x = two("one operation", causal=True)
    (_, p2), _ = model.by_hand(x, 1)
    torch.testing.assert_close(scores(model, x, "raw_attention"), p2.mean(1)[:, -1])


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_own_layers(batch_first: bool) -> None:
    """nn.TransformerEncoder, of which torch would run a fused form that shows no attention."""

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 6, 0.1, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(x)[:, 0] if batch_first else self.layer(x.transpose(0, 1))[0])[:, 1]

    model, x = seeded(Read()), normal(3, 5, 4)
    given = x if batch_first else x.transpose(0, 1)
    _, p = model.layer.self_attn(given, given, given, need_weights=True, average_attn_weights=True)
    torch.testing.assert_close(scores(model, x, "raw_attention", target=None), p[:, 0].detach())


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("method", METHODS)
def test_laws(method: str, law: str) -> None:
    if law == "ignored":
        return  # a column that is not read belongs to a token that is
    case = Case("attention", two()[0], two()[1], [1, 0, 2], layers=("layers.0",))
    smooth = method != "gradient_rollout"  # which cuts off what is negative
    LAWS[law](
        Trial(method, Case(**{**vars(case), "smooth": smooth}), wrt="layers.0:in" if law == "threads" else enodo.INPUT)
    )


SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def _transformer(name: str, how: str) -> tuple[nn.Module, Any, Any]:
    """A model of the transformers library with random weights, inputs, and a target."""
    tf = pytest.importorskip("transformers")
    ids = {"input_ids": torch.tensor([[5, 9, 33, 41, 7], [11, 6, 28, 50, 3]])}
    if name == "BERT":
        config = tf.BertConfig(vocab_size=60, attn_implementation=how, **SIZES)
        return tf.BertForSequenceClassification(config), ids, 1
    if name == "GPT-2":
        config = tf.GPT2Config(n_embd=12, n_layer=2, n_head=2, vocab_size=60, n_positions=16, attn_implementation=how)
        return tf.GPT2LMHeadModel(config), ids, lambda out: out.logits[:, -1, 3]
    config = tf.ViTConfig(image_size=16, patch_size=4, attn_implementation=how, **SIZES)
    return tf.ViTForImageClassification(config), {"pixel_values": normal(2, 3, 16, 16)}, 1


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "ViT"])
def test_transformers_as_they_are(name: str) -> None:
    """The probabilities are those that the library hands out with output_attentions=True, and in its fused form too."""
    answers = {}
    for how in ("eager", "sdpa"):
        model, x, target = _transformer(name, how)
        seeded(model, 0.3)
        answers[how] = [next(iter(enodo.explain(model, x, m, target=target).values.values())) for m in METHODS]
        if how == "eager":
            given = torch.stack(model(**x, output_attentions=True).attentions).mean(2).detach()
    for ours, theirs in zip(answers["eager"], answers["sdpa"], strict=True):
        torch.testing.assert_close(ours, theirs)
    row = -1 if name == "GPT-2" else 0
    if name == "ViT":  # each pixel has its patch's
        patches = given[-1, :, 0, 1:].unflatten(1, (4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
        torch.testing.assert_close(answers["sdpa"][0], patches[:, None])
        tokens = enodo.explain(model, x, "raw_attention", wrt="vit.embeddings", reshape=False).tensor[..., 0]
        torch.testing.assert_close(tokens, given[-1, :, 0])
        grid = enodo.explain(model, x, "raw_attention", wrt="vit.embeddings").tensor
        torch.testing.assert_close(grid, patches[:, None, ::4, ::4])
        assert enodo.explain(model, x, "raw_attention", wrt="vit.embeddings", upsample=True).shape == (2, 1, 16, 16)
    else:
        torch.testing.assert_close(answers["sdpa"][0], given[-1, :, row])
        eye = torch.eye(5, dtype=given.dtype)
        torch.testing.assert_close(answers["sdpa"][1], ((given[1] + eye) / 2 @ ((given[0] + eye) / 2))[:, row])


class Sorted(Two):
    """Windows of one's own making, of tokens in an order that depends on them: they cannot be followed."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.sort(1).values[:, :4].reshape(-1, 2, 4)
        _, _, v, p = self.probabilities(h, self.layers[0])
        return self.head((p @ v).transpose(1, 2).reshape(len(x), 4, 4).mean(1))


@pytest.mark.parametrize(
    ("argument", "words", "given"),
    [
        ("model", "no attention", lambda: {"model": seeded(nn.Linear(4, 2))}),
        ("model", "cannot be followed", lambda: {"model": seeded(Sorted())}),
        ("layers", "0 to 1", lambda: {"layers": [2]}),
        ("layers", "all", lambda: {"layers": "all"}),
        ("heads", "0 to 1", lambda: {"heads": [5]}),
        ("heads", "median", lambda: {"heads": "median"}),
        ("token", "0 to 4", lambda: {"token": 7}),
        ("token", "the end", lambda: {"token": "the end"}),
        ("discard", "1.5", lambda: {"discard": 1.5}),
        ("wrt", "5 tokens", lambda: {"wrt": "head:in", "model": seeded(Headed())}),
    ],
)
def test_what_is_refused(argument: str, words: str, given: Any) -> None:
    asked = {"model": two()[0], "inputs": two()[1], "method": "attention_rollout", **given()}
    with pytest.raises(enodo.BadArgument, match=f"^{argument}") as caught:
        enodo.explain(**asked)
    assert words in str(caught.value)


class Headed(Two):
    """Attention after a layer that has no token dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 20)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x.mean(1)).view(-1, 5, 4)
        _, _, v, p = self.probabilities(h, self.layers[0])
        return self.last((p @ v).transpose(1, 2).flatten(2).mean(1))
