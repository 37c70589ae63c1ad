"""`torch.cond`: its branches are code of the model like any other, and it loads torch's compiler when it is met."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch._dynamo  # what has not been loaded yet is another case
from torch import Tensor

import enodo
from enodo.testing.models import normal


def chosen(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > -100, lambda t: t.relu(), lambda t: t.tanh(), (x - 0.5,))


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution", "deeplift", "lrp", "integrated_gradients"])
def test_the_branch_that_is_taken_is_explained(method: str) -> None:
    x = normal(4, 3)
    found = enodo.explain(chosen, x, method, target=1)
    torch.testing.assert_close(
        found.tensor, enodo.explain(lambda t: (t - 0.5).relu(), x, method, target=1).tensor, rtol=1e-4, atol=1e-6
    )


def test_another_branch_at_the_baseline_is_refused() -> None:
    with pytest.raises(enodo.BadArgument, match="the same operations for both"):
        enodo.explain(chosen, normal(4, 3), "deeplift", target=1, baseline=torch.full((4, 3), -100.0))


FIRST = """
import sys, torch, enodo
x = torch.tensor([[-1.0, 2.0]])
assert "torch._dynamo" not in sys.modules
found = enodo.explain(lambda x: torch.cond(x.sum() > 0, torch.relu, torch.tanh, (x,)), x, "guided_backprop", target=1)
assert found.tensor.tolist() == [[0.0, 1.0]], found.tensor
"""


def test_the_first_one_of_a_process_is_explained_as_well() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
