"""Deliberate differences from Captum in Shapley values, KernelSHAP and LIME."""

from __future__ import annotations

import warnings
from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
from enodo import SamplingWarning
from tests.captum.compare import close

pytestmark = pytest.mark.filterwarnings("ignore")
BOTH = (theirs, ours)


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).eval()


def test_exact_where_it_costs_no_more() -> None:
    """32 coalitions are fewer than 25 orders of five features."""
    model, x = small(), torch.linspace(-1, 1, 6)[None]
    mask = torch.tensor([[0, 0, 1, 2, 3, 4]])
    exact = theirs.ShapleyValues(model).attribute(x, feature_mask=mask)
    for name, samples in (("ShapleyValueSampling", 25), ("KernelShap", 32)):
        question = {"n_samples": samples, "feature_mask": mask}
        off = [(getattr(attr, name)(model).attribute(x, **question) - exact).abs().max() for attr in BOTH]
        assert off[0] > 1e-4
        assert off[1] < 1e-6


def test_samples_a_row() -> None:
    model, x = small(), torch.linspace(-1, 1, 6).repeat(5, 1)
    found = [attr.ShapleyValueSampling(model).attribute(x, n_samples=2) for attr in BOTH]
    close(found[0], found[0][:1].expand_as(found[0]), 1e-6)
    assert (found[1][0] - found[1][1]).abs().max() > 1e-4


def test_the_error_to_expect() -> None:
    w = torch.randn(30, generator=torch.Generator().manual_seed(0))
    linear: Any = lambda x: x @ w  # noqa: E731
    for attr in BOTH:
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            found = attr.KernelShap(linear).attribute(torch.ones(1, 30))
        assert (found[0] - w).norm() / w.norm() > 0.3  # 25 evaluations are too few
        said = [str(m.message) for m in met if m.category is SamplingWarning]
        assert [("% (relative, L2)" in text) for text in said] == ([True] if attr is ours else [])


def test_double_coefficients() -> None:
    x = torch.linspace(-1, 1, 6).double()[None]
    w = torch.linspace(1, 2, 6).double()
    for name in ("ShapleyValues", "KernelShap"):
        found = [getattr(attr, name)(lambda x: x @ w).attribute(x) for attr in BOTH]
        assert [t.dtype for t in found] == [torch.float32, torch.float64]
        assert (found[1] - x * w).abs().max() < 1e-12
        assert (found[0].double() - x * w).abs().max() > 1e-9


def test_coalitions_once() -> None:
    rows: dict[Any, int] = {}

    def score(x: Tensor) -> Tensor:
        rows[attr] = rows.get(attr, 0) + len(x)
        return x.prod(1)

    for attr in BOTH:
        attr.ShapleyValues(score).attribute(torch.ones(1, 5))
    assert rows[theirs] == 1 + 5 * 120
    assert rows[ours] == 32


def test_gaps_in_a_mask() -> None:
    """Numbers that nobody has take part in Captum's regression, and samples are spent on them."""
    x, w = torch.ones(1, 4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    mask = torch.tensor([[0, 1, 2, 40]])
    found = [attr.KernelShap(lambda x: x @ w).attribute(x, feature_mask=mask, n_samples=16) for attr in BOTH]
    assert (found[0] - w).abs().max() > 0.1
    close(found[1], w[None])
