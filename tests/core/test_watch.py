"""`Watch`: parameters as constants, bytes held."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends.cuda import flash_sdp_enabled

import enodo
from enodo.core.watch import Constants, Watch
from enodo.testing.models import normal, seeded


class TestConstants:
    def net(self) -> nn.Module:
        return nn.Sequential(nn.Linear(300, 400), nn.Tanh(), nn.LSTM(400, 8, batch_first=True)).eval()

    def test_a_pass_keeps_no_graph_to_the_parameters(self):
        model, x = self.net(), torch.randn(2, 5, 300)
        with Watch(Constants(), None, False):
            y, _ = model(x)
        assert not y.requires_grad
        y, _ = model(x)
        assert y.requires_grad

    def test_nor_their_gradients_whatever_the_method(self):
        model, x = self.net(), torch.randn(2, 5, 300)
        for method in ("gradient", "integrated_gradients", "conductance", "smoothgrad"):
            enodo.explain(model, x, method, target=lambda y: y[0].sum((1, 2)), wrt="1")
        assert all(p.grad is None and p.requires_grad for p in model.parameters())

    def test_the_model_is_not_touched_while_it_runs(self):
        """Another thread that trains it meanwhile sees parameters that require gradients, all along."""
        model, seen = self.net(), []

        def look() -> None:
            seen.append(all(p.requires_grad for p in model.parameters()))

        def elsewhere(*_: object) -> None:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

        model[1].register_forward_hook(elsewhere)
        enodo.explain(model, torch.randn(2, 5, 300), target=lambda y: y[0].sum((1, 2)))
        assert seen
        assert all(seen)

    def test_the_numbers_are_those_of_the_parameters_now(self):
        """Between two questions a step of training counts."""
        model, x = nn.Linear(300, 2).eval(), torch.randn(2, 300)
        for _ in range(2):
            assert torch.equal(enodo.explain(model, x, "gradient", target=0).tensor[0], model.weight[0])
            with torch.no_grad():
                model.weight.mul_(2)


def test_the_bytes_held_are_those_of_the_tensors_in_the_graph():
    x = torch.randn(10, 100, requires_grad=True)
    with Watch(None, None, True) as mode:
        y = torch.tanh(x * 2)  # two tensors of 4,000 bytes
        y.view(100, 10)  # the same storage
        torch.ones(1000) * 2  # without a graph
    assert mode.load is not None
    assert sorted(mode.load.kept.values()) == [4000, 4000]


class NormedQueries(nn.Module):
    """Queries from a convolution with a batch norm, whose gradients attention lays out among tokens."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 64, 1), nn.BatchNorm2d(64), nn.Linear(64, 2)
        self.wide = nn.Linear(2, wide)

    def forward(self, x):
        q = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        k = self.conv(x).flatten(2).transpose(1, 2)
        return self.wide(self.head((torch.softmax(q @ k.mT, -1) @ k).mean(1)))


def exported(model: nn.Module, x: Tensor) -> Any:
    return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=8)},))


FORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "the model": lambda model, x: model,
    "exported": exported,
    "exported and decomposed": lambda model, x: exported(model, x).run_decompositions(),
    "a function": lambda model, x: lambda x: model(x),
}


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "lrp"])
def test_a_row_alone_has_the_gradient_that_it_has_beside_another(method, create_graph, form) -> None:
    if (method, create_graph, form) == ("guided_backprop", True, "exported and decomposed"):
        pytest.skip("an operation of several results, whose derivatives rules refuse")
    x = normal(2, 3, 2, 3)
    for wide in (3, 200_000):  # so few weights that a pass might be made bare, and more
        model = FORMS[form](seeded(NormedQueries(wide)), x)
        both = enodo.explain(model, x, method, target=1, create_graph=create_graph).tensor
        for rows, size in ((x, 1), (x[:1], "auto")):
            found = enodo.explain(model, rows, method, target=1, create_graph=create_graph, batch_size=size).tensor
            torch.testing.assert_close(found, both[: len(rows)], rtol=1e-4, atol=1e-6)


def test_attention_is_plain_for_as_long_as_one_pass_wants_second_derivatives():
    """The switch is the process's: a pass that ends puts it back only if no other is within."""
    before, meeting = flash_sdp_enabled(), threading.Barrier(2, timeout=10)
    met = {}

    def model(x: torch.Tensor) -> torch.Tensor:
        meeting.wait()  # both passes are within
        if threading.current_thread() is not threading.main_thread():
            return x.sum(1)
        other.join()
        met["fused"] = flash_sdp_enabled()
        return x.sum(1)

    other = threading.Thread(
        target=enodo.explain, args=(model, torch.ones(1, 2), "gradient"), kwargs={"create_graph": True}
    )
    other.start()
    enodo.explain(model, torch.ones(1, 2), "gradient", create_graph=True)
    assert before
    assert met == {"fused": False}
    assert flash_sdp_enabled()
