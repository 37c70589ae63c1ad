"""How class activation maps lie: tokens as a grid, channels last, the size of the input, targets that are regions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo import Each
from enodo.testing import LAWS, Case, Trial
from enodo.testing.models import normal, seeded
from tests.zoo import Dense


class Tokens(nn.Module):
    """Patches of 2 x 2 as tokens, after `first` others, (B, 1, H, W) -> (B, 2)."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first, self.layer, self.head = first, nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).flatten(1, 3)  # (B, h * w, 4)
        tokens = torch.cat([torch.zeros_like(patches[:, :1]).expand(-1, self.first, -1), patches], 1)
        h = torch.tanh(self.layer(tokens))
        return self.head((h * torch.arange(1, h.shape[1] + 1)[:, None]).mean(1))


class Last(nn.Module):
    """Channels in the last dimension, (B, 1, 6, 8) -> (B, 3, 4, 16) -> (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x.unfold(2, 2, 2).unfold(3, 2, 2)[:, 0].flatten(3))
        return self.head(torch.tanh(h).mean((1, 2)))[:, 0]


def asked(model: nn.Module, x: Tensor, method: str = "grad_cam", **options: Any) -> Tensor:
    return enodo.explain(model, x, method, **{"wrt": "layer", "target": 1, **options}).tensor


def by_hand(model: nn.Module, x: Tensor, target: Any = 1) -> tuple[Tensor, Tensor]:
    """Values and gradients at the layer, (B, T, C)."""
    return tuple(asked(model, x, m, target=t) for m, t in (("activation", None), ("gradient", target)))  # type: ignore[return-value]


@pytest.mark.parametrize("first", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (12, 6)])
def test_patches_are_a_grid_and_other_tokens_left_out(first: int, size: tuple[int, int]) -> None:
    model, x = seeded(Tokens(first)), normal(2, 1, *size)
    grid = (size[0] // 2, size[1] // 2)
    h, g = (t[:, first:].mT.unflatten(2, grid) for t in by_hand(model, x))
    expected = (h * g.mean((2, 3), keepdim=True)).sum(1, keepdim=True).clamp(min=0)
    for options in ({}, {"reshape": grid}, {"reshape": lambda t: t[:, first:].mT.unflatten(2, grid)}):
        torch.testing.assert_close(asked(model, x, **options), expected)
    large = asked(model, x, upsample=True, batch_size=1)
    torch.testing.assert_close(large, F.interpolate(expected, size, mode="bilinear"))
    several = asked(model, x, target="all", upsample=(5, 7), batch_size=1)
    torch.testing.assert_close(several[1], F.interpolate(expected, (5, 7), mode="bilinear"))


def test_tokens_can_stay_in_a_row() -> None:
    model, x = seeded(Tokens(1)), normal(2, 1, 8, 8)
    h, g = by_hand(model, x)
    expected = (h * g.mean(1, keepdim=True)).sum(2, keepdim=True).clamp(min=0)
    torch.testing.assert_close(asked(model, x, reshape=False), expected)


@pytest.mark.parametrize(
    ("argument", "words", "options"),
    [
        ("reshape", "(3, 3) or (2, 2)", {}),  # nine patches of a picture of 12 x 12, or four after five other tokens
        ("reshape", "(4, 4)", {"reshape": (4, 4)}),
        ("reshape", "got grid; expected None", {"reshape": "grid"}),
        ("upsample", "tokens in a row", {"reshape": False, "upsample": True}),
        ("upsample", "0", {"reshape": (3, 3), "upsample": (0, 4)}),
    ],
)
def test_what_is_not_clear_is_asked(argument: str, words: str, options: dict[str, Any]) -> None:
    class Nine(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:, :, :6, :6])

    model, x = seeded(Nine()), normal(1, 1, 12, 12)
    with pytest.raises(enodo.BadArgument, match=f"^{argument}") as caught:
        asked(model, x, **options)
    assert words in str(caught.value)


def test_channels_last_are_found_out() -> None:
    model, x = seeded(Last()), normal(2, 1, 6, 8)
    h, g = (t.movedim(3, 1) for t in by_hand(model, x, None))
    expected = (h * g.mean((2, 3), keepdim=True)).sum(1, keepdim=True).clamp(min=0)
    torch.testing.assert_close(asked(model, x, target=None), expected)
    torch.testing.assert_close(asked(model, x, target=None, channel=-1), expected)
    sized = asked(model, x, target=None, upsample=True)
    torch.testing.assert_close(sized, F.interpolate(expected, (6, 8), mode="bilinear"))


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "ablation_cam", "score_cam", "eigen_grad_cam"])
def test_dense_targets_are_summed_over_their_region(method: str) -> None:
    """A mask, a box and one score a place of a segmenting network; detections are a callable's business."""
    model, x = seeded(Dense()), normal(2, 2, 4, 4)
    box, mask = (2, slice(0, 2), slice(1, 3)), torch.zeros(3, 4, 4, dtype=torch.bool)
    mask[2, :2, 1:3] = True
    regions = [box, mask, lambda out: out[:, 2, :2, 1:3].sum((1, 2))]
    found = [asked(model, x, method, target=t, wrt="conv", relu=False) for t in regions]
    together = asked(model, x, method, target=Each(regions[:2]), wrt="conv", relu=False)
    for one in (*found[1:], *together):
        torch.testing.assert_close(one, found[0])
    places = [(2, i, j) for i in range(2) for j in range(1, 3)]
    if method == "grad_cam":  # linear in the score
        torch.testing.assert_close(sum(asked(model, x, target=p, wrt="conv", relu=False) for p in places), found[0])


@pytest.mark.parametrize("law", LAWS)
def test_laws_where_tokens_become_a_grid(law: str) -> None:
    case = Case("patches", seeded(Tokens(1)), normal(3, 1, 4, 4), [1, 0, 1], layers=("layer",))
    for method in ("grad_cam", "ablation_cam", "eigen_cam"):
        LAWS[law](Trial(method, case, wrt="layer"))
    if law in ("chunks", "targets"):  # smoothing takes maps of another rank as they are
        LAWS[law](Trial("smoothgrad", case, {"samples": 2, "inner": "layer_cam"}, wrt="layer"))


def _vit() -> tuple[nn.Module, str]:
    tf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = tf.ViTForImageClassification(tf.ViTConfig(image_size=24, patch_size=4, num_labels=3, **sizes))
    return model, "vit.layers.1.layernorm_before"


def _swin() -> tuple[nn.Module, str]:
    tf = pytest.importorskip("transformers")
    config = tf.SwinConfig(image_size=24, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=3)
    config.num_labels = 3
    return tf.SwinForImageClassification(config), "swin.encoder.layers.1.blocks.0"


@pytest.mark.parametrize(("build", "grid"), [(_vit, (6, 6)), (_swin, (6, 6))])
@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "eigen_cam", "score_cam"])
def test_transformers_unmodified(build: Any, grid: tuple[int, int], method: str) -> None:
    model, layer = build()
    seeded(model, 0.3)
    x = {"pixel_values": normal(2, 3, 24, 24)}
    small = asked(model, x, method, wrt=layer, relu=False)
    assert small.shape == (2, 1, *grid)
    assert small.std() > 0
    assert asked(model, x, method, wrt=layer, upsample=True).shape == (2, 1, 24, 24)


def test_what_has_no_places_is_said_once() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()
    found = enodo.explain(model, normal(5, 4), "grad_cam", target=1, batch_size=2)
    assert found.notes == [
        "Rows of 4 values have no places to make a map of: this is one number a row. "
        "Ask at a layer with places (wrt=), or ask another method."
    ]
