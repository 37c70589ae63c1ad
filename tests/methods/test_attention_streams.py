"""Attention among several streams of tokens: windows, shifted and merged (Swin), and a decoder's look at an encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal, seeded
from tests.methods.test_attention import METHODS

tf = pytest.importorskip("transformers")


def _swin(size: int = 32) -> tuple[nn.Module, dict[str, Tensor]]:
    """Two stages of two layers, windows of 4 x 4 that are shifted in every second layer."""
    config = tf.SwinConfig(
        image_size=size, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4, num_labels=3,
        attn_implementation="eager",
    )  # fmt: skip
    return seeded(tf.SwinForImageClassification(config), 0.3), {"pixel_values": normal(2, 3, size, size)}


def _windows(h: int, w: int, shift: int, size: int = 4) -> Tensor:
    """The tokens of each window (W, size * size), -1 where the picture is filled up; by loops."""
    wide = [-(-n // size) * size for n in (h, w)]
    found = []
    for top in range(0, wide[0], size):
        for left in range(0, wide[1], size):
            places = [
                ((top + i + shift) % wide[0], (left + j + shift) % wide[1]) for i in range(size) for j in range(size)
            ]
            found.append([i * w + j if i < h and j < w else -1 for i, j in places])
    return torch.tensor(found)


def _among_all(p: Tensor, windows: Tensor, count: int) -> Tensor:
    """Attention in windows, (B * W, Q, K), among all tokens (B, T, T); by loops."""
    made = p.new_zeros(len(p) // len(windows), count, count)
    for n, each in enumerate(p.unflatten(0, (-1, len(windows))).unbind(1)):
        there = (windows[n] >= 0).nonzero()[:, 0]
        tokens = windows[n][there]
        made[:, tokens[:, None], tokens] += each[:, there[:, None], there]
    return made


def _merging(h: int, w: int) -> Tensor:
    """What a token of the next stage is made of, (h / 2 * w / 2, h * w), odd sizes being filled up."""
    up = [-(-n // 2) for n in (h, w)]
    made = torch.zeros(up[0] * up[1], h * w)
    for i in range(h):
        for j in range(w):
            made[i // 2 * up[1] + j // 2, i * w + j] = 1
    return made / made.sum(1, keepdim=True)


@pytest.mark.parametrize("size", [32, 36])  # 36 gives 18 x 18 tokens, filled up to 20 x 20; then 9 x 9 to 12 x 12
def test_windows_are_laid_back(size: int) -> None:
    """Rollout over shifted windows and merged patches, from what the layers hand out."""
    model, x = _swin(size)
    given: list[Tensor] = []
    layers = [layer.attention for stage in model.swin.encoder.layers for layer in stage.blocks]
    hooks = [m.register_forward_hook(lambda module, args, out: given.append(out[1])) for m in layers]
    model(**x)
    for hook in hooks:
        hook.remove()
    side, related = size // 2, torch.eye((size // 2) ** 2)
    for n, p in enumerate(given):
        if n == 2:
            related, side = _merging(side, side) @ related, -(-side // 2)
        among = _among_all(p.detach().mean(1).float(), _windows(side, side, n % 2 * 2), side * side)
        step = among + torch.eye(side * side)
        related = step / step.sum(-1, keepdim=True) @ related
    grid = related.mean(1).view(2, 1, size // 2, -1)
    pixels = scores_of(model, x, "attention_rollout")
    torch.testing.assert_close(pixels.float(), grid.repeat_interleave(2, 2).repeat_interleave(2, 3))
    raw = (among.mean(1) @ _merging(size // 2, size // 2)).view(2, 1, size // 2, -1)
    torch.testing.assert_close(scores_of(model, x, "raw_attention").float()[..., ::2, ::2], raw)


def scores_of(model: Any, x: Any, method: str, **options: Any) -> Tensor:
    return next(iter(enodo.explain(model, x, method, **{"target": 1, **options}).values.values()))


class Grid(nn.Module):
    """Shifted windows on values (B, h, w, C), written with einsum and one joint map for queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.norm = nn.Conv2d(1, 4, 2, 2), nn.LayerNorm(4)
        self.maps, self.head = nn.ModuleList(nn.Linear(4, 12) for _ in range(2)), nn.Linear(4, 3)

    def layer(self, h: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The next values, and the attention within windows of two by two."""
        moved = torch.roll(h, (-n, -n), (1, 2))
        b, high, wide, c = moved.shape
        rows = moved.reshape(b, high // 2, 2, wide // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.maps[n](rows).chunk(3, -1)
        p = torch.einsum("nqc,nkc->nqk", q, k).softmax(-1)
        out = torch.einsum("nqk,nkc->nqc", p, v).view(b, high // 2, wide // 2, 2, 2, c).transpose(2, 3)
        return h + torch.roll(out.reshape(b, high, wide, c), (n, n), (1, 2)), p

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.cut(x).permute(0, 2, 3, 1))
        for n in range(2):
            h, _ = self.layer(h, n)
        return self.head(h.mean((1, 2)))


def test_windows_however_they_are_cut() -> None:
    model, x = seeded(Grid()), normal(3, 1, 8, 8)
    h, ps = model.norm(model.cut(x).permute(0, 2, 3, 1)), []
    for n in range(2):
        h, p = model.layer(h, n)
        ps.append(p)
    grads = torch.autograd.grad(model.head(h.mean((1, 2)))[:, 1].sum(), ps)
    related, eye = torch.zeros(16, 16, dtype=x.dtype), torch.eye(16, dtype=x.dtype)
    for n, (p, g) in enumerate(zip(ps, grads, strict=True)):
        step = _among_all((p * g).clamp(min=0).detach(), _windows(4, 4, n, 2), 16)
        related = related + step @ (related + eye)
    found = enodo.explain(model, x, "gradient_rollout", target=1).tensor
    expected = related.mean(1).view(3, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(found, expected)


class Decoder(nn.Module):
    """A decoder that looks at an encoder: `torch.nn.Transformer` on token ids, (B, S) and (B, T) -> (B, 7)."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.words, self.batch_first = nn.Embedding(9, 8), batch_first
        self.net = nn.Transformer(8, 2, 1, 1, 12, 0.0, batch_first=batch_first)
        self.head = nn.Linear(8, 7)

    def forward(self, source: Tensor, text: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1], dtype=self.head.weight.dtype)
        given = [self.words(ids) for ids in (source, text)]
        given = given if self.batch_first else [t.transpose(0, 1) for t in given]
        out = self.net(*given, tgt_mask=mask)
        return self.head(out[:, -1] if self.batch_first else out[-1])


@pytest.mark.parametrize("name", ["T5", "BART"])
def test_a_decoder_looks_at_an_encoder(name: str) -> None:
    """Chefer et al. 2021, equations 6 to 11, from what the library hands out."""
    sizes = {"vocab_size": 9, "d_model": 8, "decoder_start_token_id": 0, "attn_implementation": "eager"}
    if name == "T5":
        model = tf.T5ForConditionalGeneration(tf.T5Config(d_kv=4, d_ff=12, num_layers=1, num_heads=2, **sizes))
    else:
        config = tf.BartConfig(
            encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=16, **sizes,
        )  # fmt: skip
        model = tf.BartForConditionalGeneration(config)
    seeded(model, 0.5)
    x = {
        "input_ids": torch.tensor([[1, 5, 3, 7], [2, 8, 4, 6]]),
        "decoder_input_ids": torch.tensor([[4, 2, 6], [1, 1, 8]]),
    }
    out = model(**x, output_attentions=True)
    ps = [out.encoder_attentions[0], out.decoder_attentions[0], out.cross_attentions[0]]
    grads = torch.autograd.grad(out.logits[:, -1, 3].sum(), ps)
    encoder, decoder, between = ((p * g).clamp(min=0).mean(1).detach() for p, g in zip(ps, grads, strict=True))

    def normed(gained: Tensor) -> Tensor:
        total = gained.sum(-1, keepdim=True)
        return gained / torch.where(total == 0, 1, total) + torch.eye(gained.shape[-1])

    expected = {
        "input_ids": (normed(decoder).mT @ between @ normed(encoder))[:, -1],
        "decoder_input_ids": decoder[:, -1],
    }
    target = {"target": lambda out: out.logits[:, -1, 3]}
    found = enodo.explain(model, x, "gradient_rollout", **target)
    for key, scores in expected.items():
        torch.testing.assert_close(found[key], scores)
    raw = enodo.explain(model, x, "raw_attention", **target)
    torch.testing.assert_close(raw["input_ids"], ps[2].mean(1)[:, -1].detach())
    assert not raw["decoder_input_ids"].any()
    own = enodo.explain(model, x, "raw_attention", layer=1, token=1, **target)
    torch.testing.assert_close(own["decoder_input_ids"], ps[1].mean(1)[:, 1].detach())
    half = (ps[0].mean(1).detach() + torch.eye(4)) / 2
    rolled = enodo.explain(model, x, "attention_rollout", layers=[0], token=0, **target)
    torch.testing.assert_close(rolled["input_ids"], half[:, 0])
    with pytest.raises(enodo.BadArgument, match=r"^layers.*number 2.*layers=\[0, 1\]"):
        enodo.explain(model, x, "attention_rollout", **target)
    inside = enodo.explain(model, x, "gradient_rollout", wrt=DECODER[name], **target)
    torch.testing.assert_close(inside.tensor[..., 0], decoder[:, -1])  # what is looked at elsewhere has no part
    with pytest.raises(enodo.BadArgument, match=r"^layers.*does not follow"):
        enodo.explain(model, x, "raw_attention", wrt=DECODER[name], **target)


DECODER = {
    "T5": "decoder.block.0.layer.0.layer_norm",
    "BART": "model.decoder.layernorm_embedding",
}  # where its tokens are vectors


def test_torchs_own_decoder() -> None:
    """The same with rows first and second, also where there are as many rows as tokens."""
    x = {
        "source": torch.tensor([[1, 5, 3], [2, 8, 4], [7, 7, 1]]),
        "text": torch.tensor([[4, 2, 6], [1, 1, 8], [3, 5, 2]]),
    }
    models = [seeded(Decoder(batch_first)) for batch_first in (True, False)]
    caught: list[Any] = []
    look = models[0].net.decoder.layers[0].multihead_attn
    hook = look.register_forward_pre_hook(lambda module, args: caught.append(args[:3]))
    models[0](**x)
    hook.remove()
    between = look(*caught[0], need_weights=True)[1].detach()
    for method in ("raw_attention", "gradient_rollout"):
        first, second = (enodo.explain(model, x, method, target=1) for model in models)
        for key in x:
            torch.testing.assert_close(first[key], second[key])
        if method == "raw_attention":
            torch.testing.assert_close(first["source"], between[:, -1])


class Learnt(nn.Module):
    """Queries that the model has learnt look at tokens (B, T, 4), and then at themselves: (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.maps = nn.Parameter(torch.zeros(2, 4)), nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        self.head = nn.Linear(4, 3)

    def steps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scores, and both attentions."""
        asked = self.maps[0](x)
        first = (self.queries.expand(len(x), -1, -1) @ asked.mT).softmax(-1)
        h = first @ self.maps[1](x)
        own = self.maps[2](h)
        second = (own @ own.mT).softmax(-1)
        return self.head((h + second @ self.maps[3](h))[:, 1]), first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)[0]


def test_learnt_queries_are_tokens_of_their_own() -> None:
    model, x = seeded(Learnt()), normal(3, 5, 4)
    out, *ps = model.steps(x)
    first, second = (
        (p * g).clamp(min=0).detach() for p, g in zip(ps, torch.autograd.grad(out[:, 1].sum(), ps), strict=True)
    )
    found = enodo.explain(model, x, "gradient_rollout", target=1, token=1).tensor[..., 0]
    torch.testing.assert_close(found, (first + second @ first)[:, 1])  # equation 10, then 7
    raw = enodo.explain(model, x, "raw_attention", target=1, layer=0, token=1).tensor[..., 0]
    torch.testing.assert_close(raw, ps[0][:, 1].detach())


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_apart(method: str) -> None:
    """One row at a time, and all at once."""
    model, x = seeded(Grid()), normal(4, 1, 8, 8)
    whole = enodo.explain(model, x, method, target=1).tensor
    torch.testing.assert_close(enodo.explain(model, x, method, target=1, batch_size=1).tensor, whole)
    each = enodo.explain(model, x, method, target="all").tensor
    torch.testing.assert_close(each[1] if each.ndim > whole.ndim else each, whole)
