"""Any small question gets Captum's answer: shapes, steps, passes, baselines and targets drawn at random."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.captum.compare import compare

PLACES = {
    "Saliency": 0, "InputXGradient": 0, "IntegratedGradients": 0, "LayerActivation": 1, "LayerGradientXActivation": 1,
    "LayerIntegratedGradients": 1, "LayerConductance": 1, "InternalInfluence": 1, "NeuronGradient": 1,
    "NeuronIntegratedGradients": 1, "NeuronConductance": 1,
}  # fmt: skip
PATHS = {name for name in PLACES if name.endswith(("IntegratedGradients", "Conductance", "Influence"))}


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_any_question(data: st.DataObject) -> None:
    draw = data.draw
    name, rows, wide, classes = draw(st.sampled_from(list(PLACES))), *draw(st.tuples(*[st.integers(2, 5)] * 3))
    torch.manual_seed(draw(st.integers(0, 10_000)))
    shape = (rows, *draw(st.lists(st.integers(1, 3), max_size=2)), wide)
    model = nn.Sequential(nn.Linear(wide, 4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(classes)).eval()
    x = torch.randn(shape)
    model(x)
    question: dict[str, Any] = {"inputs": x}
    if name not in ("LayerActivation", "NeuronGradient", "NeuronIntegratedGradients"):
        each = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
        question["target"] = draw(st.one_of(st.integers(0, classes - 1), each, each.map(torch.tensor)))
    if name.startswith("Neuron"):
        question["neuron_selector"] = tuple(draw(st.integers(0, n - 1)) for n in (*shape[1:-1], 4))
    if name in PATHS:
        question["baselines"] = draw(st.sampled_from([None, 0.3, torch.randn(shape), torch.randn(1, *shape[1:])]))
        question["n_steps"] = draw(st.integers(2, 12))
        question["method"] = draw(st.sampled_from(["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]))
        question["internal_batch_size"] = draw(st.one_of(st.none(), st.integers(1, 20)))
        if name == "NeuronIntegratedGradients" and isinstance(question["baselines"], float):
            question["baselines"] = None
    compare(name, model, *[model[1]][: PLACES[name]], **question)
