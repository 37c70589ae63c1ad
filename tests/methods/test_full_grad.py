"""Full-Grad: the gradients at all biases and at the inputs add up to the score; its map by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.tables import PLAIN
from enodo.methods.full_grad import spread
from enodo.testing.models import normal, seeded
from tests.laws.ask import CASES, case_of


@pytest.mark.parametrize("name", CASES)
def test_the_score_is_the_sum(name: str) -> None:
    """Equation 2, with the biases that other operations than ReLUs imply: at the inputs and at a layer."""
    case = case_of(name)
    for wrt in ("INPUT", *case.layers[:1]):
        found = enodo.explain(
            case.model, case.inputs, "full_grad", target=case.target, wrt=wrt, args=case.args, kwargs=case.kwargs,
            signed=True,
        )  # fmt: skip
        assert found.delta is not None
        assert (found.delta.abs() <= 1e-9 * found.scores.abs().clamp(min=1)).all()


class Small(nn.Module):
    """A convolution with a bias, a batch norm, a ReLU, a pooling: (B, 1, 4, 4) -> (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 2, stride=2), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))).sum((1, 2, 3)) + 5


def test_by_hand() -> None:
    """The bias of the convolution times the gradient there, and beta - gamma mean / deviation of the batch norm."""
    model, x = seeded(Small()), normal(2, 1, 4, 4)
    model.norm.running_mean.copy_(torch.tensor([0.3, -0.2]))
    model.norm.running_var.copy_(torch.tensor([0.5, 2.0]))
    scale = model.norm.weight / (model.norm.running_var + model.norm.eps).sqrt()
    h = model.norm(model.conv(x))
    on = (h > 0).to(x.dtype)
    of_norm = on * (model.norm.bias - model.norm.running_mean * scale)[:, None, None]
    of_conv = on * (scale * model.conv.bias)[:, None, None]
    g = enodo.explain(model, x, "gradient").tensor * x

    def up(t: Tensor) -> Tensor:
        return F.interpolate(t.abs().sum(1, keepdim=True).detach(), (4, 4), mode="bilinear")

    found = enodo.explain(model, x, "full_grad", rescale=None).tensor
    torch.testing.assert_close(found, g.abs() + up(of_conv) + up(of_norm))
    signed = enodo.explain(model, x, "full_grad", signed=True).tensor
    both = (of_conv + of_norm).sum(1, keepdim=True).detach() / 4
    torch.testing.assert_close(signed, g + both.repeat_interleave(2, 2).repeat_interleave(2, 3) + 5 / 16)


def test_spreading_keeps_the_sum() -> None:
    t = normal(2, 1, 3, 2)
    wide = spread(t, (7, 5))
    assert wide.shape == (2, 1, 7, 5)
    torch.testing.assert_close(wide.sum((1, 2, 3)), t.sum((1, 2, 3)))
    torch.testing.assert_close(spread(t, (6, 4)), t.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4)


def test_a_rule_of_the_users_and_what_is_refused() -> None:
    x = torch.tensor([[2.0, 3.0]])
    model: Any = lambda x: F.relu6(10 * x).sum(1)  # noqa: E731  its slope is zero: all of the score is bias
    found = enodo.explain(model, x, "full_grad", signed=True)
    torch.testing.assert_close(found.tensor, torch.tensor([[12.0]]))
    without = enodo.explain(model, x, "full_grad", signed=True, rules={"relu6": PLAIN})
    torch.testing.assert_close(without.delta, torch.tensor([-12.0]))
    with pytest.raises(enodo.BadArgument, match="rescale"):
        enodo.explain(model, x, "full_grad", rescale="picture")
