"""The model in other forms that PyTorch has for it gets the answer of the model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import enodo
from enodo.testing.models import normal


def plain(width: int) -> nn.Module:
    """A network whose parameters are worth keeping out of the graph, or are not, by its width."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)).double().eval()


def recomputing(model: nn.Module, reentrant: bool = False) -> Callable[[Tensor], Any]:
    """The model under activation checkpointing."""
    return lambda x: checkpoint(model, x, use_reentrant=reentrant)


def exported(model: nn.Module, x: Tensor) -> nn.Module:
    """Its graph, which says that it is in train mode and cannot be put in another."""
    return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("rows", min=1)},)).module()


def compiled_forward(model: nn.Module, x: Tensor) -> nn.Module:
    """Compiled where its layers are run, which no wrapper tells."""
    inner = copy.deepcopy(model)
    inner.forward = torch.compile(inner.forward, backend="eager")  # type: ignore[method-assign]
    return nn.Sequential(inner).eval()


def compiled_part(model: nn.Module, x: Tensor) -> Callable[[Tensor], Any]:
    """A function that calls a compiled one between two layers."""
    first, act, last = model.children()

    @torch.compile(backend="eager")
    def between(x: Tensor) -> Tensor:
        swish = x * torch.sigmoid(1.7 * x)
        return act(x) + swish - swish

    return lambda x: last(between(first(x)))


FORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "scripted": lambda model, x: torch.jit.script(model),
    "traced": torch.jit.trace,
    "frozen": lambda model, x: torch.jit.freeze(torch.jit.script(model)),
    "exported": exported,
    "symbolically traced": lambda model, x: torch.fx.symbolic_trace(model),
    "data parallel": lambda model, x: nn.DataParallel(model),
    "a functional call": lambda model, x: lambda x: functional_call(model, dict(model.named_parameters()), (x,)),
    "vectorized": lambda model, x: lambda x: torch.vmap(model)(x),
    "a compiled forward": compiled_forward,
    "a compiled function within": compiled_part,
    "checkpointed": lambda model, x: recomputing(model),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("error::enodo.core.errors.TrainModeWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [4, 200])
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_answer_is_that_of_the_model(form: str, width: int, create_graph: bool) -> None:
    model, x = plain(width), normal(3, width)
    given: dict[str, Any] = {"target": 1, "steps": 4, "create_graph": create_graph}
    expected = enodo.explain(model, x, **given).detach()
    found = enodo.explain(FORMS[form](model, x), x, **given).detach()
    torch.testing.assert_close(found.tensor, expected.tensor, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("form", ["scripted", "traced", "frozen", "exported", "symbolically traced", "data parallel"])
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "kernel_shap"])
def test_so_it_is_where_the_model_holds_buffers(form: str, method: str) -> None:
    model, x = nn.Sequential(*plain(4), nn.BatchNorm1d(3).double()).eval(), normal(3, 4)
    model[3].running_mean.add_(normal(3, seed=1))
    expected = enodo.explain(model, x, method, target=1)
    form_of_it = FORMS[form](model, x)
    for _ in range(2):  # the first time, passes are given copies of buffers
        torch.testing.assert_close(enodo.explain(form_of_it, x, method, target=1).tensor, expected.tensor)


@pytest.mark.parametrize("wrt", ["0", "1:in"])
def test_layers_of_a_symbolic_trace_are_those_of_the_model(wrt: str) -> None:
    model, x = plain(4), normal(3, 4)
    found = enodo.explain(torch.fx.symbolic_trace(model), x, target=1, wrt=wrt)
    torch.testing.assert_close(found.tensor, enodo.explain(model, x, target=1, wrt=wrt).tensor)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_a_parametrized_layer_is_as_any(norm: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    found = enodo.explain(model, normal(3, 4), target=1, steps=64)
    assert found.delta is not None
    assert found.delta.abs().max() < 1e-9
