"""What is read at places that the model computes: DeepLIFT is complete, LRP follows what is read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo.core.tables import UnknownOperation
from enodo.testing.models import normal
from tests.rules.test_background import need_pairs
from tests.rules.test_completeness import need_complete


class Warped(nn.Module):
    """A spatial transformer: an affine map of the picture's places, found in the picture."""

    def __init__(self, **how: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.where, self.what, self.how = nn.Linear(24, 6), nn.Linear(24, 3), how

    def forward(self, x: Tensor) -> Tensor:
        theta = self.where(x.flatten(1)).tanh().view(-1, 2, 3) + torch.eye(2, 3)
        places = F.affine_grid(theta, list(x.shape), align_corners=False)
        y: Tensor = self.what(F.grid_sample(x, places, align_corners=False, **self.how).flatten(1))
        return y.square().sum(1)


WAYS = [{}, {"padding_mode": "border"}, {"mode": "nearest"}, {"mode": "bicubic", "padding_mode": "reflection"}]


@pytest.mark.parametrize("how", WAYS)
def test_what_is_read_at_computed_places_is_complete(how: dict[str, str]) -> None:
    model = Warped(**how).double().eval()
    need_complete(model, normal(3, 2, 3, 4), normal(3, 2, 3, 4, seed=1))
    need_complete(model, normal(3, 2, 3, 4), normal(2, 3, 4, seed=2))


def test_volumes_too_and_places_alone() -> None:
    picture = normal(1, 2, 3, 4, 5, seed=3)

    def read(x: Tensor) -> Tensor:
        return (
            F.grid_sample(picture.expand(len(x), -1, -1, -1, -1), x.tanh(), align_corners=True).exp().sum((1, 2, 3, 4))
        )

    need_complete(read, normal(3, 1, 2, 2, 3), normal(3, 1, 2, 2, 3, seed=1))
    with pytest.raises(UnknownOperation, match="reads a picture that is not explained"):
        enodo.explain(read, normal(3, 1, 2, 2, 3), "lrp")


def test_places_that_do_not_move_have_the_gradient() -> None:
    model, x = Warped().double().eval(), normal(3, 2, 3, 4)
    own = enodo.explain(model, x, "gradient").tensor
    torch.testing.assert_close(enodo.explain(model, x, "deeplift", baseline=x, multiply=False).tensor, own)


def test_every_pair_of_a_background() -> None:
    need_pairs(Warped().double().eval(), normal(3, 2, 3, 4), normal(4, 2, 3, 4, seed=1))


def test_along_a_line_a_place_has_what_its_move_changes() -> None:
    """Of a ramp read at p the value is linear in p, wherever it was at the baseline: slope times move."""
    ramp = torch.arange(5.0).double().view(1, 1, 1, 5)

    def read(p: Tensor) -> Tensor:
        places = torch.stack([p, torch.zeros_like(p)], -1)[:, None]
        return F.grid_sample(ramp.expand(len(p), -1, -1, -1), places, align_corners=True).sum((1, 2, 3))

    p, p0 = torch.tensor([[-0.9, 0.1], [0.3, 0.8]]).double(), torch.tensor([[0.7, 0.1], [-0.2, 0.0]]).double()
    torch.testing.assert_close(enodo.explain(read, p, "deeplift", baseline=p0).tensor, 2 * (p - p0))


def test_relevance_goes_to_what_is_read() -> None:
    x = normal(3, 2, 3, 4)
    places = F.affine_grid(torch.eye(2, 3).double().expand(3, 2, 3) * 0.8, list(x.shape), align_corners=False)

    def moving(x: Tensor) -> Tensor:
        return F.grid_sample(x, places + 0 * x.mean(), align_corners=False).square().sum((1, 2, 3))

    found = enodo.explain(moving, x, "lrp").tensor
    still = enodo.explain(lambda x: F.grid_sample(x, places, align_corners=False).square().sum((1, 2, 3)), x, "lrp")
    torch.testing.assert_close(found, still.tensor)
    assert found.abs().max() > 0.1
