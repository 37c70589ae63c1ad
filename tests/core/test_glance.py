"""What plain questions are answered by: the same as full ones give, evidence included."""

from __future__ import annotations

import copy
import warnings
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.core import glance, registry
from enodo.core.explain import explain

MODEL = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double().eval()
X = torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5)


class Doubling(nn.Module):
    """Changes its input, and a layer's output, in place."""

    def __init__(self, quietly: bool = False) -> None:
        super().__init__()
        self.body, self.act, self.quietly = nn.Linear(5, 3).double(), nn.Softplus(), quietly

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.quietly):
            x.mul_(2)
        h: Tensor = self.act(self.body(x))
        return h.add_(1)


class Twice(nn.Module):
    """Runs its layer two times."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5).double()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.layer(x).tanh())
        return y


def both(*args, **kwargs):
    """(the answer as it is given, the answer of the full question, whether they were found in two ways)."""
    with mock.patch.object(glance, "level", return_value=1), mock.patch("enodo.core.explain.level", return_value=0):
        full = explain(*args, **kwargs)
    with mock.patch("enodo.core.explain.ask", wraps=enodo.ask) as asked:
        found = explain(*args, **kwargs)
    return found, full, not asked.called


PLAIN = {
    "index": (MODEL, X, "gradient", {"target": 1}),
    "box": (MODEL, X, "gradient", {"target": (slice(0, 2),)}),
    "an index a row": (MODEL, X, "gradient", {"target": [0, 2]}),
    "predicted": (MODEL, X, "input_x_gradient", {"target": "predicted"}),
    "mask": (MODEL, X, "gradient_x_activation", {"target": torch.tensor([True, False, True]), "multiply": False}),
    "function": (lambda x: x.square().sum(1), X, "gradient", {"absolute": True}),
    "in float32": (nn.Linear(5, 1).eval(), X.float(), "gradient", {}),
    "in place, without a graph": (Doubling(quietly=True).eval(), X, "gradient", {"target": 0}),
    "batch_size": (MODEL, X, "gradient", {"target": 0, "batch_size": 2}),
    "one row": (MODEL, X[:1], "gradient", {"target": 0}),
    "path": (MODEL, X, "integrated_gradients", {"target": [1, 0]}),
    "path of a few": (MODEL, X.float().double(), "integrated_gradients", {"target": 1, "steps": 3, "multiply": False}),
    "half precision": (nn.Linear(5, 1).eval().bfloat16(), X.bfloat16(), "integrated_gradients", {}),
    "rules": (MODEL, X, "deeplift", {"target": 1}),
    "rules at what is predicted": (MODEL, X, "deeplift", {"target": "predicted", "multiply": False}),
    "rules of a few rows": (MODEL, X[:1], "deeplift", {"target": [2], "rule": "reveal_cancel"}),
    "rules in place": (Doubling().eval(), X, "deeplift", {"target": 0}),
    "rules of two rows, no fewer": (lambda x: x.view(2, 5).relu().sum(1), X, "deeplift", {}),
    "layer": (MODEL, X, "activation", {"wrt": "1"}),
    "module": (MODEL, X, "activation", {"wrt": MODEL[0]}),
    "input of a layer": (MODEL, X, "activation", {"wrt": "2:in"}),
    "changed after": (Doubling().eval(), X, "activation", {"wrt": "act"}),
}


@pytest.mark.parametrize("case", PLAIN)
def test_a_glance_gives_what_the_full_question_gives(case):
    model, x, method, terms = PLAIN[case]
    kept = x.clone()
    found, full, glanced = both(model, x, method, **terms)
    assert glanced
    assert torch.equal(found.tensor, full.tensor)
    assert found.tensor.dtype == x.dtype
    assert not found.tensor.requires_grad
    for name in (
        "method",
        "options",
        "target",
        "wrt",
        "of",
        "rows",
        "batch_size",
        "model",
        "versions",
        "notes",
        "seed",
    ):
        assert getattr(found, name) == getattr(full, name), name
    for name in "scores baseline_scores delta".split():
        one, other = getattr(found, name), getattr(full, name)
        assert (one is None) == (other is None), name
        assert one is None or torch.equal(one, other), name
    assert torch.equal(x, kept)


FULL = {
    "path to what is predicted": (MODEL, X, "integrated_gradients", {"target": "predicted"}),
    "path with a tolerance": (MODEL, X, "integrated_gradients", {"target": 0, "tol": 0.01}),
    "path from elsewhere": (MODEL, X, "integrated_gradients", {"target": 0, "baseline": 1.0}),
    "path in pieces": (MODEL, X, "integrated_gradients", {"target": 0, "batch_size": 50}),
    "rules from elsewhere": (MODEL, X, "deeplift", {"target": 0, "baseline": 1.0}),
    "rules at a layer": (MODEL, X, "deeplift", {"target": 0, "wrt": "0"}),
    "several targets": (MODEL, X, "gradient", {"target": "all"}),
    "a callable": (MODEL, X, "gradient", {"target": lambda y: y[:, 0]}),
    "another score": (MODEL, X, "gradient", {"target": 0, "of": "0"}),
    "a gradient at a layer": (MODEL, X, "gradient", {"target": 0, "wrt": "0"}),
    "several layers": (MODEL, X, "activation", {"wrt": ["0", "1"]}),
    "the inputs": (MODEL, X, "activation", {}),
    "a layer that runs twice": (Twice().eval(), X, "activation", {"wrt": "layer"}),
    "nested inputs": (lambda a, b: (a * b).sum(1), (X, X), "gradient", {}),
    "fewer rows a pass": (MODEL, X, "gradient", {"target": 0, "batch_size": 1}),
    "a graph": (MODEL, X, "gradient", {"target": 0, "create_graph": True}),
    "in place": (Doubling().eval(), X, "gradient", {"target": 0}),
    "a large input": (lambda x: x.sum(1), torch.ones(1, 5000), "gradient", {}),
    "a fused layer": (nn.MultiheadAttention(4, 2).eval(), torch.ones(1, 4), "activation", {"wrt": "out_proj"}),
    "a buffer changed": (nn.Dropout().train(), X[:, :1], "gradient", {}),
}


@pytest.mark.parametrize("case", FULL)
def test_what_is_not_plain_is_asked_in_full(case):
    model, x, method, terms = FULL[case]
    if case == "a fused layer":
        model = Fused().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, glanced = both(model, x, method, **terms)
    assert not glanced


def test_what_changes_its_inputs_has_the_slope_from_before():
    model = Doubling().eval()
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x.clone())[:, 1].sum(), x)
    assert torch.equal(enodo.explain(model, X, "gradient", target=1).tensor, slope)


@mock.patch.dict(registry._cards)
def test_a_method_that_answers_with_a_graph_leaves_it_behind():
    scale = torch.ones(5, dtype=torch.float64, requires_grad=True)
    enodo.method("scaled", claims="once")(lambda q: q.gradient()[1] * scale)
    found, full, _ = both(MODEL, X, "scaled", target=1)
    assert not found.tensor.requires_grad
    assert torch.equal(found.tensor, full.tensor)


def changed_layer(model: nn.Sequential) -> None:
    model[0] = nn.Linear(5, 4).double()


def changed_numbers(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight.mul_(2)


def hooked(model: nn.Sequential) -> None:
    model[0].register_forward_hook(lambda m, args, out: out * 3)


def wrapped(model: nn.Sequential) -> None:
    model.append(nn.Sequential(nn.Linear(3, 3).double(), nn.Tanh()))


def another_forward(model: nn.Sequential) -> None:
    model[1].forward = torch.sin


@pytest.mark.parametrize("change", [changed_layer, changed_numbers, hooked, wrapped, another_forward])
@pytest.mark.parametrize(("method", "terms"), [("gradient", {}), ("activation", {"wrt": ""})])
def test_a_model_that_has_changed_is_met_as_it_is(change, method, terms):
    model = copy.deepcopy(MODEL)
    before = enodo.explain(model, X, method, target=0, **terms)
    change(model)
    found, full, glanced = both(model, X, method, target=0, **terms)
    assert glanced
    assert not torch.equal(found.tensor, before.tensor)
    assert torch.equal(found.tensor, full.tensor)


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.BatchNorm1d(4).double()])
def test_a_model_whose_layer_goes_into_training_is_asked_in_full(layer):
    model = copy.deepcopy(MODEL).insert(1, layer.eval())
    assert both(model, X, "gradient", target=0)[2]
    layer.train()
    with pytest.warns(enodo.TrainModeWarning):
        assert not both(model, X, "gradient", target=0)[2]


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out_proj = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out_proj(self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0])
        return y


@pytest.mark.parametrize(
    ("model", "x", "terms", "said"),
    [
        (lambda x: x.detach().sum(1), X, {}, "no gradient reaches"),
        (lambda x: x.sqrt().sum(1), X, {}, "NaN or infinity"),
        (MODEL, X, {"target": 3}, "index 3"),
        (MODEL, X, {}, "None with an output"),
        (MODEL, X, {"target": 0, "wrt": "9"}, "dotted name"),
        (MODEL, X, {"target": 0, "batch_size": 0}, "positive int"),
        (MODEL, X, {"target": 0, "seed": -1}, "from 0"),
    ],
)
def test_what_goes_wrong_is_said_as_ever(model, x, terms, said):
    with pytest.raises(enodo.BadArgument, match=said):
        enodo.explain(model, x, "gradient", **terms)


def test_an_operation_without_a_rule_is_said_at_once():
    calls: list[int] = []

    def model(x: Tensor) -> Tensor:
        calls.append(len(x))
        return torch.linalg.svdvals(x[:, None] * x[:, :, None]).sum(1)

    with pytest.raises(enodo.BadArgument, match="svdvals"):
        enodo.explain(model, X, "deeplift")
    assert calls == [1, 2]  # by a baseline of one row, and of as many as there are; by no full question


def test_an_error_of_the_model_is_its_own():
    calls: list[int] = []

    def broken(x: Tensor) -> Tensor:
        calls.append(len(x))
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        enodo.explain(broken, X, "gradient")
    assert calls[0] == 2  # all rows at once; what follows looks for what the model would answer
