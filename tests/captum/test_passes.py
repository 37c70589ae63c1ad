"""The rows of a forward pass are those that a class was told, in every class that can be told."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

import enodo.captum.attr as attr
from enodo.testing.faults import Meter, metered

LIMITED = sorted(
    name
    for name, kind in vars(attr).items()
    if hasattr(kind, "attribute") and "internal_batch_size" in inspect.signature(kind.attribute).parameters
)


def test_all_are_met() -> None:
    assert len(LIMITED) == 6


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_no_pass_has_more_rows_than_internal_batch_size(name: str, rows: int) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    kind, meter = getattr(attr, name), Meter()
    place: list[Any] = [] if name == "IntegratedGradients" else [model[0]]
    neuron: list[Any] = [2] if name.startswith("Neuron") else []
    target = {} if name == "NeuronIntegratedGradients" else {"target": 1}
    with metered(model, meter):
        kind(model, *place).attribute(torch.randn(3, 4), *neuron, internal_batch_size=rows, n_steps=9, **target)
    assert meter.largest <= rows
    assert meter.counts["forward"] >= 27 // rows
