"""Class activation maps on a layer small enough to do by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing import LAWS, Case, Trial
from enodo.testing.models import normal, seeded


class Pooled(nn.Module):
    """A layer that is the identity, and the score 2 mean(channel 0) - 4 mean(channel 1)^2 / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> (B,)."""
        pooled = self.layer(x).mean((2, 3))
        return 2 * pooled[:, 0] - 2 * pooled[:, 1] ** 2


X = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]]])
G = torch.tensor([0.5, -0.5])  # 2/4 for each place of channel 0; -4 (1/2) / 4 for those of channel 1


def cam(method: str, model: nn.Module | None = None, x: Tensor = X, **options: object) -> Tensor:
    return enodo.explain((model or Pooled()).eval(), x, method, **{"wrt": "layer", **options}).tensor


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "xgrad_cam"])
def test_with_the_same_gradient_everywhere_they_agree(method: str) -> None:
    """Equation 1: alpha_k is the mean gradient; equation 2: relu(sum alpha_k A^k)."""
    expected = torch.tensor([[[[0.0, 1.0], [1.5, 1.5]]]])
    torch.testing.assert_close(cam(method), expected)


@pytest.mark.parametrize("x", [X, X - 2, -X])
def test_xgrad_cam_eq_8(x: Tensor) -> None:
    """Of sum_p p A_p over places p, weights sum(p |A_p|) / sum |A_p|, which lie between 1 and 4 whatever the signs."""

    class Ramp(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(x).flatten(2) * torch.arange(1.0, 5.0)).sum((1, 2))

    places = torch.arange(1.0, 5.0).view(2, 2)
    weights = (places * x.abs()).sum((2, 3)) / x.abs().sum((2, 3))
    expected = (weights[..., None, None] * x).sum(1, keepdim=True)
    torch.testing.assert_close(cam("xgrad_cam", Ramp(), x, relu=False), expected)


def test_grad_cam_before_the_relu_and_by_channel() -> None:
    apart = cam("grad_cam", relu=False, summed=False)
    torch.testing.assert_close(apart, X * G[None, :, None, None])
    torch.testing.assert_close(cam("grad_cam", relu=False), apart.sum(1, keepdim=True))


def test_layer_cam_takes_positive_gradients_only() -> None:
    torch.testing.assert_close(cam("layer_cam"), 0.5 * X[:, :1])


def test_grad_cam_plus_plus_eq_19() -> None:
    """alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + 10/2) for each place of channel 0, weight 4 alpha g."""
    torch.testing.assert_close(cam("grad_cam_plus_plus"), 4 * 0.5 / 7 * X[:, :1])


def test_where_gradients_differ_by_place_only_hires_follows() -> None:
    class Placed(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[:, 0, 0, 0]

    torch.testing.assert_close(cam("hires_cam", Placed()), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
    torch.testing.assert_close(cam("grad_cam", Placed()), X[:, :1] / 4)


def test_maps_can_have_the_size_of_the_input() -> None:
    class Small(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.avg_pool2d(x, 2))

    x = normal(2, 2, 8, 6).float()
    small, large = (cam("grad_cam", Small(), x, upsample=upsample) for upsample in (False, True))
    assert small.shape == (2, 1, 4, 3)
    torch.testing.assert_close(large, F.interpolate(small, (8, 6), mode="bilinear"))


def test_a_dimension_of_channels_that_is_none_is_refused() -> None:
    for channel in (0, 4, -4, 9):
        with pytest.raises(enodo.BadArgument, match="channel"):
            cam("grad_cam", channel=channel)


def test_guided_grad_cam_is_the_product() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))
    x = normal(2, 2, 6, 6)
    found = enodo.explain(model, x, "guided_grad_cam", layer="0", target=1).tensor
    guided, where = (
        enodo.explain(model, x, m, target=1, **o).tensor
        for m, o in (("guided_backprop", {}), ("grad_cam", {"wrt": "0"}))
    )
    torch.testing.assert_close(found, guided * F.interpolate(where, (6, 6), mode="bilinear"))
    several = enodo.explain(model, x, "guided_grad_cam", layer="0", target="all").tensor
    torch.testing.assert_close(several[1], found)
    with pytest.raises(enodo.BadArgument, match="layer"):
        enodo.explain(model, x, "guided_grad_cam", layer="4", target=1)
    with pytest.raises(enodo.BadArgument, match=r"mode: got 'linear'.*bilinear"):
        enodo.explain(model, x, "guided_grad_cam", layer="0", target=1, mode="linear")


@pytest.mark.parametrize(
    "law", sorted(set(LAWS) - {"ignored"})
)  # what is not read widens the picture that maps are laid on
def test_laws_of_guided_grad_cam(law: str) -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)))
    case = Case("picture", model, normal(3, 1, 4, 4), [1, 0, 1], layers=("0",), neuron=(0, 1, 1), smooth=False)
    LAWS[law](Trial("guided_grad_cam", case, {"layer": "0"}))


def test_guided_grad_cam_of_a_picture_beside_a_table() -> None:
    """The map lies on the picture alone; the other input is said to have none."""
    body = seeded(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)))
    x, more = normal(2, 2, 6, 6), normal(2, 2)
    both = enodo.explain(lambda x, y: body(x) + y, (x, more), "guided_grad_cam", layer=body[0], target=1)
    alone = enodo.explain(body, x, "guided_grad_cam", layer="0", target=1).tensor
    torch.testing.assert_close(both[0], alone)
    assert not both[1].any()
    assert "no map" in both.notes[0]
