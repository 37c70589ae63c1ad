"""Class activation maps beyond Grad-CAM, on layers small enough to do by hand; the laws of those that want pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.testing import LAWS, Case, Trial
from enodo.testing.models import normal, seeded
from tests.methods.test_cam import Pooled, X, cam


class Shown(nn.Module):
    """A layer of two channels that look at places of a picture of one, and two class scores, (B, 1, 4, 4) -> (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(x))
        return torch.stack([h[:, 0].sum((1, 2)), x.square().mean((1, 2, 3)) + h[:, 1].sum((1, 2))], 1)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 3, 5, 4)])
def test_eigen_cam_is_the_first_component(shape: tuple[int, ...], centred: bool) -> None:
    """Equation 3: A V_1, with A places by channels; also where there are more channels than places."""
    x = normal(*shape)

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).sum((1, 2, 3))

    found = enodo.explain(Same().eval(), x, "eigen_cam", wrt="layer", relu=False, centred=centred).tensor
    rows = x.flatten(2).mT - (x.flatten(2).mean(2)[:, None] if centred else 0)
    expected = (rows @ torch.linalg.svd(rows).Vh[:, :1].mT).mT.reshape(found.shape)
    torch.testing.assert_close(found.abs(), expected.abs())
    assert (found.flatten(1).amax(1) == found.flatten(1).abs().amax(1)).all()


def test_eigen_grad_cam_of_one_channel_is_its_hires_cam() -> None:
    class First(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(x)[:, 0] ** 2).sum((1, 2))

    both = [cam(m, First(), relu=False) for m in ("eigen_grad_cam", "hires_cam")]
    torch.testing.assert_close(*both)
    torch.testing.assert_close(both[0], 2 * X[:, :1] ** 2)


def test_ablation_cam_weighs_by_what_is_lost() -> None:
    """2 mean(A_0) - 2 mean(A_1)^2: without channel 0 the score loses 2 * 2.5, without channel 1 it gains 2 / 4."""
    torch.testing.assert_close(cam("ablation_cam", relu=False), 5 * X[:, :1] - 0.5 * X[:, 1:])
    with_one_row = cam("ablation_cam", x=X.repeat(3, 1, 1, 1), batch_size=1)
    torch.testing.assert_close(with_one_row[2:], (5 * X[:, :1] - 0.5 * X[:, 1:]).clamp(min=0))


@pytest.mark.parametrize("softmax", [False, True])
def test_score_cam_weighs_by_what_is_shown(softmax: bool) -> None:
    """Definition 4: the score of what a channel shows, above that of the baseline; equation 8."""
    model, x, x0 = seeded(Shown()), normal(2, 1, 4, 4), 0.1 * normal(2, 1, 4, 4, seed=1)
    found = enodo.explain(model, x, "score_cam", target=1, wrt="layer", baseline=x0, softmax=softmax, relu=False).tensor
    a = model.layer(x).detach()
    weights = []
    for c in range(2):
        up = F.interpolate(a[:, c : c + 1], (4, 4), mode="bilinear")
        low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
        flat = a[:, c : c + 1].amin((2, 3), keepdim=True), a[:, c : c + 1].amax((2, 3), keepdim=True)
        torch.testing.assert_close((low, high), flat)  # bilinear reaches the corners, half a cell from the edge
        shown = x0 + (up - low) / (high - low) * (x - x0)
        weights.append((model(shown) - model(x0))[:, 1].detach())
    w = torch.stack(weights, 1)
    w = w.softmax(1) if softmax else w
    torch.testing.assert_close(found, (w[:, :, None, None] * a).sum(1, keepdim=True))


def test_finer_cam_is_the_map_of_a_difference() -> None:
    model, x = seeded(nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5))), normal(3, 1, 4, 4)
    y = model(x).detach()
    for b, target in enumerate([2, 0, 4]):
        order = [c for c in (y[b] - y[b, target]).abs().argsort().tolist() if c != target][:2]
        p = y[b].softmax(0)[order]

        def difference(out: Tensor, order: list[int] = order, p: Tensor = p, target: int = target) -> Tensor:
            return out[:, target] - 0.6 * (out[:, order] * p / p.sum()).sum(1)

        expected = enodo.explain(model, x, "layer_cam", target=difference, wrt="0").tensor[b]
        given = {"inner": "layer_cam", "against": 2, "alpha": 0.6, "wrt": "0"}
        for found in (
            enodo.explain(model, x, "finer_cam", target=[2, 0, 4], batch_size=2, **given).tensor[b],
            enodo.explain(model, x, "finer_cam", target="all", **given).tensor[target, b],
        ):
            torch.testing.assert_close(found, expected)
    named = enodo.explain(model, x, "finer_cam", target=1, wrt="0", against=[3], alpha=1.0).tensor
    apart = enodo.explain(model, x, "grad_cam", target=lambda out: out[:, 1] - out[:, 3], wrt="0").tensor
    torch.testing.assert_close(named, apart)


def test_finer_cam_of_classes_far_below_another() -> None:
    """Of probabilities too small for a number the shares are those of their scores: all is the nearer one's here."""
    model, x = seeded(nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3))), normal(2, 1, 4, 4)
    with torch.no_grad():
        model[3].bias.copy_(torch.tensor([0.0, -2000.0, -3000.0]))
    found = enodo.explain(model, x, "finer_cam", target=0, wrt="0", against=[1, 2]).tensor
    apart = enodo.explain(model, x, "grad_cam", target=lambda out: out[:, 0] - out[:, 1], wrt="0").tensor
    torch.testing.assert_close(found, apart)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("inner", {"inner": "gradient"}),
        ("against", {"against": 0}),
        ("against", {"against": [1]}),
        ("against", {"against": [9]}),
        ("target", {"target": lambda out: out[:, 0]}),
    ],
)
def test_what_finer_cam_refuses(argument: str, given: dict[str, object]) -> None:
    with pytest.raises(enodo.BadArgument, match=f"^{argument}"):
        enodo.explain(seeded(Shown()), normal(2, 1, 4, 4), "finer_cam", **{"wrt": "layer", "target": 1, **given})


def test_score_cam_refuses_what_does_not_lie_in_the_picture() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(18, 3)))
    for wrt in ("1", ["0", "1"]):
        with pytest.raises(enodo.BadArgument, match="wrt"):
            enodo.explain(model, normal(1, 1, 4, 4), "score_cam", target=1, wrt=wrt)


CASE = Case("pictures", seeded(Shown()), normal(3, 1, 4, 4), [1, 0, 1], layers=("layer",))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("method", ["score_cam", "finer_cam"])
def test_laws(method: str, law: str) -> None:
    LAWS[law](Trial(method, CASE, wrt="layer"))
