"""Graphs of torch.export, whose operations are spelt as a compiler has them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo.testing.models import normal
from tests.rules.nets import settled

pytestmark = pytest.mark.filterwarnings("ignore:.*train mode")  # which such a graph cannot leave


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution", "deeplift", "lrp", "full_grad"])
def test_a_graph_of_torch_export_is_its_model(method: str, decomposed: bool) -> None:
    """Its operations are spelt torch.ops.aten.relu.default; decomposed, norms and convolutions are a compiler's."""
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.InstanceNorm2d(4, affine=True)
    model = settled(nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)))
    x = normal(2, 2, 9, 9)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    exported = (program.run_decompositions() if decomposed else program).module()
    expected = enodo.explain(model, x, method, target=1).tensor
    torch.testing.assert_close(enodo.explain(exported, x, method, target=1).tensor, expected)


@pytest.mark.parametrize("decomposed", [False, True])
def test_the_spellings_of_a_compiler(decomposed: bool) -> None:
    """Each with its answer to the end: joins of indices, group norms, resizing, one- and three-dimensional layers."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.back = nn.Conv1d(2, 4, 3, padding=1, groups=2), nn.ConvTranspose1d(4, 2, 2, stride=2)
            self.norm, self.last = nn.GroupNorm(2, 4), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.wide(x)).sigmoid()
            y = F.interpolate(self.back(y)[..., None], scale_factor=(0.75, 1), mode="bicubic")[..., 0]
            y = y[:, [1, 0, 1]][..., torch.arange(8)].tanh()
            return self.last(y.flatten(1)).softmax(-1)

    model, x = settled(Odd()), normal(2, 2, 6)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    exported = (program.run_decompositions() if decomposed else program).module()
    found = enodo.explain(exported, x, "deeplift", target=1, baseline=normal(2, 2, 6, seed=1))
    assert found.delta.abs().max() < 1e-12
    expected = enodo.explain(model, x, "deeplift", target=1, baseline=normal(2, 2, 6, seed=1))
    torch.testing.assert_close(found.tensor, expected.tensor)


@pytest.mark.parametrize("decomposed", [False, True])
def test_ids_in_a_graph_of_torch_export(decomposed: bool) -> None:
    """A compiler has the table of an embedding first and the ids second."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(9, 4), nn.Parameter(normal(5, 4))
            self.last = nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            own = self.places[(ids[:, 1:] * 0 + torch.arange(4)).long()]
            return self.last((self.words(ids).tanh()[:, 1:] * own).sum(1))

    model, ids = settled(Tagger()), torch.tensor([[1, 2, 3, 4, 5], [8, 7, 6, 5, 4]])
    program = torch.export.export(model, (ids,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    exported = (program.run_decompositions() if decomposed else program).module()
    for method in ("gradient", "deeplift", "integrated_gradients"):
        expected = enodo.explain(model, ids, method, target=1).tensor
        torch.testing.assert_close(enodo.explain(exported, ids, method, target=1).tensor, expected)
