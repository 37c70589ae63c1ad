"""Deliberate differences from Captum in methods that perturb."""

from __future__ import annotations

import captum.attr as theirs
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import enodo.captum.attr as ours
from enodo.testing.models import MLP, normal, seeded

model, x = seeded(MLP()), normal(2, 6)


def test_occlusion_in_float64() -> None:
    mine, reference = (side.Occlusion(model).attribute(x, (2,), target=1) for side in (ours, theirs))
    assert (mine.dtype, reference.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(mine, reference.detach().double(), rtol=1e-5, atol=1e-6)


def test_layer_permutation_with_a_target() -> None:
    with pytest.raises(AssertionError, match="target"):
        theirs.LayerFeaturePermutation(model, model.act).attribute(x, target=1)
    hidden = model.act(model.first(x[:, :5]))
    lost = [model.second(torch.where(torch.arange(7) == i, hidden.flip(0), hidden)) for i in range(7)]
    expected = torch.stack([(model(x) - y)[:, 1] for y in lost], 1)
    torch.testing.assert_close(ours.LayerFeaturePermutation(model, model.act).attribute(x, target=1), expected.detach())


def test_loader_of_tensors() -> None:
    rows = normal(7, 6)

    def mean(out: Tensor) -> Tensor:
        return out.mean(0)

    with pytest.raises(IndexError):
        theirs.DataLoaderAttribution(theirs.FeatureAblation(model)).attribute(DataLoader(rows, 3), to_metric=mean)
    found = ours.DataLoaderAttribution(ours.FeatureAblation(model)).attribute(DataLoader(rows, 3), to_metric=mean)
    tuples = DataLoader(TensorDataset(rows), 3)
    (expected,) = theirs.DataLoaderAttribution(theirs.FeatureAblation(model)).attribute(tuples, to_metric=mean)
    torch.testing.assert_close(found, expected.detach())
