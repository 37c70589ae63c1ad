"""Every law, asked of every method at every zoo model: at all places, or (where a law is slow) at one in turn."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import enodo
from enodo import BadArgument, Each
from enodo.testing import LAWS
from enodo.testing.answers import same
from enodo.testing.conduct import faults
from tests.laws.ask import LEARNT, METHODS, case_of, every, one_place, places, rotated, trial
from tests.zoo import same_relus

EVERYWHERE = ("shape", "completeness", "rows", "dtypes", "ignored", "state")
IN_TURN = {
    "chunks": 1, "targets": 1, "structure": 1, "identity": 1, "randomness": 1, "warns": 1, "differentiable": 1,
    "callers": 2, "threads": 2, "faults": 2, "memory": 3,
}  # fmt: skip
# The path of guided_ig heeds all values, also those that are not read: tests/methods/test_paths.py. Learnt masks divide
# by the change of the score, of which float32 knows too little where it is small: tests/methods/test_learnt_mask.py
ELSEWHERE = {("ignored", "guided_ig"), *(("dtypes", name) for name in LEARNT)}
FAILING = ("mlp", "plain", "unrolled")


def test_no_law_is_left_out() -> None:
    assert {*EVERYWHERE, *IN_TURN} == set(LAWS)


@pytest.mark.parametrize(
    ("law", "method", "name"),
    [(law, m, name) for m, name in every() for law in EVERYWHERE if (law, m) not in ELSEWHERE],
)
def test_everywhere(law: str, method: str, name: str) -> None:
    case = case_of(name)
    for wrt, of in places(method, case):
        LAWS[law](trial(method, case, wrt, of))


@pytest.mark.parametrize(
    ("law", "method", "name", "number"), [(law, *asked) for law, share in IN_TURN.items() for asked in rotated(share)]
)
def test_in_turn(law: str, method: str, name: str, number: int) -> None:
    case = case_of(name)
    if (law, method) == ("targets", "neuron_conductance"):  # it says so
        with pytest.raises(BadArgument, match="target: got 2 targets"):
            trial(method, case)(target=Each([case.target, case.target]))
        return
    wrt, of = one_place(method, case, number)
    LAWS[law](trial(method, case, wrt, of))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FAILING)
def test_an_exception_in_every_pass(method: str, name: str) -> None:
    few = {"steps": 2, "samples": 2}
    options = {k: v for k, v in few.items() if k in enodo.methods()[method].options}
    faults(trial(method, name, **options), spare=1000)


@pytest.mark.parametrize("method", METHODS)
def test_however_the_model_is_written(method: str) -> None:
    first, *others = same_relus()
    for wrt, of in places(method, first):
        same(trial(method, first, wrt, of), others)


@pytest.mark.parametrize("method", ["smoothgrad", "vargrad", "integrated_gradients", "gradient_shap"])
def test_memory_that_holds_one_row(method: str) -> None:
    LAWS["memory"](trial(method, case_of("mlp").take([0], baseline=method != "gradient_shap")))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inner", [False, True])
def test_a_model_that_runs_compiled(method: str, inner: bool) -> None:
    """Compiled for good, and run before it is explained: the whole model, or a layer in it."""
    case = case_of("mlp")
    question = trial(method, case)
    model = type(case.model)().double().eval()
    model.load_state_dict(case.model.state_dict())
    if inner:
        model.act = torch.compile(model.act, backend="aot_eager")
    compiled = model if inner else torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(case.inputs), case.model(case.inputs))
    torch.testing.assert_close(question(model=compiled).tensor, question().tensor, rtol=1e-9, atol=1e-12)


def test_a_layers_input_counts_only_for_what_the_layer_does() -> None:
    """y = a x + b x through two layers: at the input of the first, the gradient is a alone."""

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.softplus(x)
            return self.a(x) + self.b(x)

    model = Twice().eval()
    for batch_size in ("auto", 1):
        for create_graph in (False, True):
            given = {"batch_size": batch_size, "create_graph": create_graph}
            found = enodo.explain(model, torch.ones(2, 1), "gradient", wrt="a:in", **given)
            torch.testing.assert_close(found.detach().tensor, model.a.weight.detach().expand(2, 1))


def test_a_token_that_the_model_puts_in_itself_explains_nothing() -> None:
    """The tokens given account for all of the change from the zero embedding; the start token stays what it is."""
    case = case_of("a start token")
    found = enodo.explain(case.model, case.inputs, target=1, steps=64)
    assert found.delta is not None
    assert found.delta.abs().max() < 1e-9
    torch.testing.assert_close(found.tensor.sum(1), found.scores - found.baseline_scores, rtol=1e-9, atol=1e-9)
    assert (found.tensor[:, -1] == 0).all()  # pushed out by the start token
