"""Warnings point at the user's own line, wherever in the library they arise."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import enodo
from enodo.core.errors import SamplingWarning, SettlingWarning, TrainModeWarning


class Steep(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(400 * (x - 0.3)).sum(-1)


@pytest.mark.parametrize(
    ("kind", "model", "method", "options"),
    [
        (TrainModeWarning, nn.Sequential(nn.Linear(30, 1), nn.Flatten(0)), "gradient", {}),
        (SamplingWarning, Steep().eval(), "kernel_shap", {"max_evaluations": 20}),
        (SettlingWarning, Steep().eval(), "integrated_gradients", {"tol": 1e-6, "max_steps": 15}),
    ],
)
def test_a_warning_is_at_the_line_that_asked(kind, model, method, options):
    x = torch.linspace(0.1, 1, 30)[None]
    with pytest.warns(kind) as told:
        enodo.explain(model, x, method, **options)
    assert {w.filename for w in told if w.category is kind} == {__file__}


def test_a_warning_through_the_door_is_at_the_line_that_asked():
    attr = pytest.importorskip("enodo.captum.attr")
    torch.manual_seed(0)  # which governs the sample; one in hundreds happens to look sure
    with pytest.warns(SamplingWarning) as told:
        attr.KernelShap(Steep().eval()).attribute(torch.linspace(0.1, 1, 30)[None], n_samples=20)
    assert {w.filename for w in told if w.category is SamplingWarning} == {__file__}


@pytest.mark.parametrize("method", ["banzhaf", "shapley_interactions"])
def test_more_coalitions_than_a_float_can_count(method):
    weight = torch.randn(1, 1100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model, x = nn.Linear(1100, 1, bias=False).double().eval(), torch.ones(1, 1100, dtype=torch.float64)
    model.weight.data.copy_(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        found = enodo.explain(model, x, method, target=0, max_evaluations=2400)
    assert (found.tensor - weight).norm() < 1e-6 * weight.norm()
