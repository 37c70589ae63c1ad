"""Learnt masks: what they converge to where that is known, and the laws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import enodo
from enodo import Absence, BadArgument, Each
from enodo.testing import LAWS
from enodo.testing.models import normal
from tests.laws.ask import case_of, trial

W = torch.tensor([4.0, 0.1, -1.0, 3.0, 0.2, 0.05, -0.1, 2.0, 0.0, 0.1], dtype=torch.float64)
ones = torch.ones(2, 10, dtype=torch.float64)


def linear(t: Tensor) -> Tensor:
    return torch.stack([t @ W, t @ -W], 1)


@pytest.mark.parametrize(("area", "kept"), [(0.1, {0}), (0.2, {0, 3}), (0.3, {0, 3, 7})])
def test_the_part_that_keeps_a_linear_score_is_its_largest_terms(area: float, kept: set[int]) -> None:
    found = enodo.explain(linear, ones, "extremal_perturbation", target=0, area=area, smoothness=0).tensor
    for row in found:
        assert set(row.topk(len(kept)).indices.tolist()) == kept
        assert row[list(kept)].min() > 0.9
        assert sum(v > 0.5 for v in row.tolist()) == len(kept)


def test_the_part_that_destroys_a_linear_score_has_more_than_its_share_of_it() -> None:
    """Without smoothness each feature goes on its own: where its share of the score, times n, is above `sparsity`."""
    share = W / W.sum() * 10
    for sparsity in (0.5, 1.0, 3.0):
        ask = {"target": 0, "sparsity": sparsity, "smoothness": 0, "steps": 300}
        found = enodo.explain(linear, ones, "meaningful_perturbation", **ask).tensor
        torch.testing.assert_close(found, (share > sparsity).double().expand(2, 10), atol=1e-3, rtol=0)


def test_each_target_has_its_own_mask() -> None:
    ask = {"area": 0.2, "smoothness": 0, "steps": 50}
    both = enodo.explain(linear, ones, "extremal_perturbation", target=Each([0, 1]), **ask).tensor
    alone = [enodo.explain(linear, ones, "extremal_perturbation", target=t, **ask).tensor for t in (0, 1)]
    torch.testing.assert_close(both, torch.stack(alone))


def test_pictures_have_cells_and_smooth_masks() -> None:
    """What counts is a square of 8 x 8 in the corner of 32 x 32: that is what is found, the same for all channels."""
    photo = normal(1, 2, 32, 32).abs() + 1
    weight = torch.zeros(32, 32, dtype=torch.float64)
    weight[:8, :8] = 1

    def corner(t: Tensor) -> Tensor:
        return (t * weight).sum((1, 2, 3))

    base = Absence.at(0.0)
    found = enodo.explain(corner, photo, "extremal_perturbation", area=1 / 16, baseline=base).tensor
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[..., ::2, ::2], found[..., 1::2, 1::2])  # cells of 2 x 2
    square = weight.bool()
    assert found[0, 0][square].mean() > 0.8
    assert found[0, 0][~square].mean() < 0.05
    ask = {"inputs": photo, "method": "meaningful_perturbation", "baseline": base}
    rough, smooth = (enodo.explain(corner, **ask, smoothness=s).tensor.diff(dim=-1).square().sum() for s in (0.0, 20.0))
    assert smooth < rough / 2


@pytest.mark.parametrize("method", ["extremal_perturbation", "meaningful_perturbation"])
@pytest.mark.parametrize("law", LAWS)
def test_the_laws_hold_over_several_steps(method: str, law: str) -> None:
    for name, wrt in (("mlp", "act"), ("cnn", enodo.INPUT)):
        LAWS[law](trial(method, case_of(name), wrt, steps=3))


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("area", {"area": 0.0}),
        ("steps", {"steps": 0}),
        ("smoothness", {"smoothness": -1.0}),
        ("baseline", {"baseline": Absence.background(ones)}),
        ("features", {"features": torch.tensor([[0] * 10, list(range(10))])}),
    ],
)
def test_what_cannot_be_learnt(argument: str, given: dict[str, object]) -> None:
    with pytest.raises(BadArgument) as raised:
        enodo.explain(linear, ones, "extremal_perturbation", target=0, **given)
    assert str(raised.value).startswith(argument)


def test_windows_side_by_side_are_blocks() -> None:
    ask = {"model": linear, "inputs": ones, "method": "extremal_perturbation", "target": 0, "area": 0.5, "steps": 40}
    found = [enodo.explain(**ask, features=f).tensor for f in (enodo.Features.windows((5,), 5), 2)]
    torch.testing.assert_close(*found)
