"""Models on which a rule of differences must be complete, written in the ways that people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enodo.testing.models import normal, seeded

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
        nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Hardtanh, nn.Hardsigmoid,
        nn.Hardswish, nn.LogSigmoid, nn.Sigmoid, nn.Tanh,
    )
}  # fmt: skip
ACTIVATIONS |= {
    "GELU tanh": lambda: nn.GELU(approximate="tanh"),
    "Threshold": lambda: nn.Threshold(0.1, 0.4),
    "GLU": lambda: nn.Sequential(nn.Linear(6, 12), nn.GLU()),
    "Softmax": lambda: nn.Softmax(-1),
    "Softmin": lambda: nn.Softmin(-1),
    "LogSoftmax": lambda: nn.LogSoftmax(-1),
    "LayerNorm": lambda: nn.LayerNorm(6),
    "RMSNorm": lambda: nn.RMSNorm(6),
    "BatchNorm1d": lambda: nn.BatchNorm1d(6),
    "GroupNorm": lambda: nn.GroupNorm(2, 6),
    "in place": lambda: nn.Sequential(nn.ELU(inplace=True), nn.SiLU(inplace=True), nn.Hardtanh(inplace=True)),
}

# Functions of (B, 4, 6) with one score a row.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gating": lambda x: (x[:, 0] * torch.sigmoid(x[:, 1]) * x[:, 2]).sum(1),
    "square": lambda x: (x * x + x**3 + x.square()).sum((1, 2)),
    "quotient": lambda x: (x[:, 0] / (1 + x[:, 1] ** 2) + 1 / (2 + x[:, 2].tanh()) + x[:, 3] / 7).sum(1),
    "powers": lambda x: (2 ** x[:, 0] + x[:, 1].exp() ** x[:, 2] + (1 + x[:, 3] ** 2) ** -0.5).sum(1),
    "logarithms": lambda x: (x.abs().log1p() + (1 + x**2).log() + (1 + x**2).rsqrt() + x.abs().sqrt()).sum((1, 2)),
    "bounds": lambda x: (x.clamp(-1, 0.5) + torch.clamp(x, min=0) + x.clamp_max(0.2)).sum((1, 2)),
    "steps": lambda x: (x.round() + (3 * x).floor() + x.sign() * x).sum((1, 2)),
    "normalised along others": lambda x: (x.softmax(1) * x.log_softmax(1)).sum((1, 2)) + x.logsumexp(1).square().sum(1),
    "masks": lambda x: (x * (x > 0) + (x > 0.5).to(x) * x.square() - x / (1 + (x > 0)).to(x)).sum((1, 2)),
    "extremes": lambda x: x.max(1)[0].sum(1) + x.amax((1, 2)) - x.min(2).values.sum(1) + x.max(),
    "pairs": lambda x: (torch.maximum(x[:, 0], x[:, 1]) + torch.minimum(x[:, 2], x[:, 3].tanh())).sum(1),
    "choices": lambda x: (torch.where(x > 0, x, 0.1 * x * x) + x.masked_fill(x < -1, 2.0)).sum((1, 2)),
    "matrices": lambda x: (x @ x.mT).sum((1, 2)) + torch.einsum("bij,bkj->bik", x, x.tanh()).square().sum((1, 2)),
    "lengths": lambda x: F.normalize(x, dim=-1)[..., 0].sum(1) + x.norm(dim=2).sum(1) + x.norm(p=3, dim=2).sum(1),
    "statistics": lambda x: x.std((1, 2)) + x.var(2).sum(1) + x.logsumexp((1, 2)) + x.mean((1, 2)),
    "cosine": lambda x: F.cosine_similarity(x[:, 0], x[:, 1], dim=1) + torch.logaddexp(x[:, 2], x[:, 3]).sum(1),
    "losses": lambda x: F.cross_entropy(x[:, 0], torch.ones(len(x), dtype=torch.long), reduction="none")
    + F.mse_loss(x[:, 1], x[:, 2].tanh(), reduction="none").sum(1),
    "fused": lambda x: torch.addcmul(x[:, 0], x[:, 1], x[:, 2], value=2).sum(1)
    + torch.baddbmm(x, x @ x.mT, x).sum((1, 2)),
    "movement": lambda x: F.gelu(
        torch.cat([x.flip(1), x.roll(1, 2)], 1).unfold(2, 3, 1).permute(0, 2, 1, 3).cumsum(1)
    ).sum((1, 2, 3)),
    "pools": lambda x: F.max_pool1d(x, 3, 2, 1).sum((1, 2)) + F.adaptive_max_pool1d(x, 2).relu().sum((1, 2))
    + F.max_pool2d(F.relu(x[:, None]), 2, 1).sum((1, 2, 3)) + F.max_pool2d(x, 3, 1, 1).tanh().sum((1, 2)),
    "pools in 3 dimensions": lambda x: F.max_pool3d(x[:, None, None], (1, 2, 2), (1, 1, 2)).tanh().sum((1, 2, 3, 4)),
    "resized": lambda x: F.interpolate(x.tanh(), 9, mode="linear").exp().sum((1, 2))
    + F.avg_pool1d(x, 2).exp().sum((1, 2)),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x.sin(), x, is_causal=True).exp().sum((1, 2)),
    "grouped attention": lambda x: (F.scaled_dot_product_attention(
        x.unflatten(2, (2, 3)), x[:, :2].unflatten(2, (2, 3)), x[:, 2:].unflatten(2, (2, 3)), enable_gqa=True
    ).tanh() * torch.arange(1, 5).view(4, 1, 1)).sum((1, 2, 3)),
    "masked attention": lambda x: F.scaled_dot_product_attention(
        x, x, x.cos(), attn_mask=torch.tensor([[True, True, False, False]] * 3 + [[False] * 4])
    ).sum((1, 2)),
}  # fmt: skip


def _in_place(x: Tensor) -> Tensor:
    """In-place code of every kind, also on views and on what has been used before."""
    y = x * 1
    z = F.gelu(y)
    y += z
    z.relu_()
    y.mul_(z)
    y[:, 0] = torch.sigmoid_(y[:, 1] * 2)
    v = y[:, 2]
    v.tanh_()
    y[:, 3].clamp_(-0.5, 0.5)
    return y.sum((1, 2))


FUNCTIONS["in place"] = _in_place


class Wrapped(nn.Module):
    """A module and what is made of its answer."""

    def __init__(self, inner: nn.Module, read: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.read = inner, read

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4, 6) -> (B,)."""
        return self.read(self.inner, x)


def _packed(m: nn.Module, x: Tensor) -> Tensor:
    lengths = torch.tensor([4, 2, 3])
    rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    steps, states = m(rows)
    out, _ = nn.utils.rnn.pad_packed_sequence(steps, batch_first=True)
    last = states[0] if isinstance(states, tuple) else states
    return out.square().sum((1, 2)) + last.sin().sum((0, 2))


def _sequences() -> dict[str, Callable[[], nn.Module]]:
    def attention(m: nn.Module, x: Tensor) -> Tensor:
        blocked = torch.ones(4, 4, dtype=torch.bool).triu(1)
        out, weights = m(x, x.tanh(), x, attn_mask=blocked)
        return out.square().sum((1, 2)) + m(x, x, x, need_weights=False)[0][:, 0, 1] + weights[:, 2, 0]

    def block(**options: Any) -> nn.Module:
        return nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, **options)

    def first(m: nn.Module, x: Tensor) -> Tensor:
        return m(x)[:, 0, 1]

    lstm = {"batch_first": True, "bidirectional": True, "num_layers": 2}
    made: dict[str, tuple[Callable[[], nn.Module], Any]] = {
        "LSTM": (lambda: nn.LSTM(6, 5, **lstm), lambda m, x: m(x)[0].sum((1, 2)) + m(x)[1][1].sum((0, 2))),
        "LSTM with projection": (
            lambda: nn.LSTM(6, 5, proj_size=3, bias=False), lambda m, x: m(x.transpose(0, 1))[0].sum((0, 2))
        ),
        "packed LSTM": (lambda: nn.LSTM(6, 5, **lstm), _packed),
        "packed GRU": (lambda: nn.GRU(6, 5, **lstm), _packed),
        "GRU": (lambda: nn.GRU(6, 5, 2), lambda m, x: m(x.transpose(0, 1))[1].sum((0, 2))),
        "RNN": (lambda: nn.RNN(6, 5, nonlinearity="relu"), lambda m, x: m(x.transpose(0, 1))[0].sum((0, 2))),
        "LSTMCell": (lambda: nn.LSTMCell(6, 5), lambda m, x: m(x[:, 1], m(x[:, 0]))[0].sum(1)),
        "GRUCell": (lambda: nn.GRUCell(6, 5), lambda m, x: m(x[:, 1], m(x[:, 0])).sum(1)),
        "MultiheadAttention": (lambda: nn.MultiheadAttention(6, 2, batch_first=True), attention),
        "ReLU block": (block, first),
        "GELU block, norm first": (lambda: block(activation="gelu", norm_first=True), first),
        "encoder": (lambda: nn.TransformerEncoder(block(), 2, enable_nested_tensor=False), first),
    }  # fmt: skip
    return {name: lambda inner=inner, read=read: Wrapped(inner(), read) for name, (inner, read) in made.items()}


SEQUENCES = _sequences()


class Residual(nn.Module):
    """A block with one in-place ReLU for both of its activations, (B, 2, 8, 8) -> (B, 3)."""

    def __init__(self, squeeze: bool) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.deep, self.wide = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1)
        self.pool, self.head = nn.MaxPool2d(3, 2, 1), nn.Linear(4, 3)
        self.squeeze = (
            nn.Sequential(nn.Conv2d(4, 2, 1), nn.SiLU(), nn.Conv2d(2, 4, 1), nn.Sigmoid()) if squeeze else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = self.pool(self.relu(self.norm(self.stem(x))))
        r = self.wide(self.relu(self.deep(h)))
        if self.squeeze is not None:
            r = r * self.squeeze(F.adaptive_avg_pool2d(r, 1))
        r += h
        scores: Tensor = self.head(self.relu(r).mean((2, 3)))
        return scores


def settled(model: nn.Module) -> nn.Module:
    """The model in float64 with fixed numbers, and batch statistics that do something."""
    model = seeded(model)
    for number, b in enumerate(model.buffers()):
        if b.is_floating_point() and b.ndim:
            b.copy_(1 + 0.3 * normal(*b.shape, seed=number).abs())
    return model
