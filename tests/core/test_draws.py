"""Models that draw random numbers in eval mode: one draw a question, named by the seed, whatever the passes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo import TrainModeWarning
from enodo.core.draws import draws_of
from enodo.rules.audit import audit
from enodo.testing import State
from enodo.testing.models import normal

X = normal(5, 4)
PASSES: list[int] = []  # rows of those of all models


class Masked(nn.Module):
    """y = sum_i w_i x_i m_i, with a mask m that `draw` makes anew in each pass, a row of it for each row."""

    def __init__(self, draw) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.arange(1.0, 5.0, dtype=torch.float64))
        self.own = torch.Generator().manual_seed(9)
        self.others = np.random.default_rng(9)
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        PASSES.append(len(x))
        return (x * self.w * self.draw(self, x)).sum(1)


def dropped(model: Masked, x: Tensor) -> Tensor:
    return F.dropout(torch.ones_like(x), 0.5, training=True)


DRAWS = {
    "dropout": dropped,
    "randn_like": lambda m, x: torch.randn_like(x),
    "rand": lambda m, x: torch.rand(x.shape, dtype=x.dtype),
    "in place": lambda m, x: torch.empty_like(x).normal_(),
    "bernoulli": lambda m, x: torch.bernoulli(torch.full_like(x, 0.5)),
    "gumbel": lambda m, x: F.gumbel_softmax(torch.zeros_like(x), hard=True),
    "distribution": lambda m, x: torch.distributions.Gamma(torch.ones_like(x), 1.0).rsample(),
    "order": lambda m, x: torch.stack([torch.randperm(4) for _ in x]).to(x),
    "chosen": lambda m, x: torch.multinomial(torch.ones_like(x), 4).to(x),
    "numpy": lambda m, x: torch.from_numpy(np.random.normal(size=x.shape)),  # noqa: NPY002
    "python": lambda m, x: torch.tensor([[random.random() for _ in range(4)] for _ in x]).to(x),
    "its own": lambda m, x: torch.rand(x.shape, generator=m.own, dtype=x.dtype),
    "its own of numpy": lambda m, x: torch.from_numpy(m.others.normal(size=x.shape)),
    "attention": lambda m, x: F.scaled_dot_product_attention(*[x[..., None]] * 3, dropout_p=0.5)[..., 0],
}


def weights(model: Masked, why: enodo.Attribution) -> Tensor:
    """The mask that an answer of input x gradient was given."""
    return why.tensor / (X * model.w.detach())


@pytest.mark.parametrize("kind", DRAWS)
def test_the_draws_are_those_of_the_seed_in_every_pass(kind):
    model = Masked(DRAWS[kind]).eval()
    before, own, others = State(model, X), model.own.get_state(), str(model.others.bit_generator.state)
    found = enodo.explain(model, X, "integrated_gradients", steps=5)
    if kind != "attention":  # whose mask depends on the input
        assert found.delta.abs().max() < 1e-6  # linear: at the baseline, on the way and at the inputs
    assert draws_of(model)
    assert found.seed == 0
    assert any("random numbers" in note for note in found.notes)
    ablated = enodo.explain(model, X, "feature_ablation", features=[0, 1, 2, 3])
    if kind != "attention":
        torch.testing.assert_close(ablated.tensor, found.tensor)
    for size in (1, 2, 64):
        again = enodo.explain(model, X, "integrated_gradients", steps=5, batch_size=size)
        assert torch.equal(again.tensor, found.tensor)
    row = enodo.explain(model, X[3:4], "integrated_gradients", steps=5)
    assert torch.equal(row.tensor, found.tensor[3:4])
    other = enodo.explain(model, X, "integrated_gradients", steps=5, seed=1)
    assert not torch.equal(other.tensor, found.tensor)
    assert not before.changes()
    assert torch.equal(own, model.own.get_state())
    assert others == str(model.others.bit_generator.state)


def test_all_rows_have_the_same_draw():
    model = Masked(DRAWS["rand"]).eval()
    PASSES.clear()
    masks = weights(model, enodo.explain(model, X, "input_x_gradient"))
    torch.testing.assert_close(masks, masks[:1].expand(5, 4))
    assert set(PASSES[2:]) == {1}  # after one pass that was watched and one that told


@pytest.mark.parametrize(
    "method", ["gradient", "deeplift", "lrp", "kernel_shap", "occlusion", "smoothgrad", "gradient_shap", "conductance"]
)
def test_methods_of_all_kinds_see_one_function(method):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Dropping(), nn.Linear(6, 2)).double().eval()
    more = {"wrt": "0"} if method == "conductance" else {}
    more |= {"window": 1} if method == "occlusion" else {}
    more |= {"baseline": X[:2]} if method == "gradient_shap" else {}
    before = State(model, X)
    found = enodo.explain(model, X, method, target=1, batch_size=64, **more)
    again = enodo.explain(model, X, method, target=1, batch_size=1, **more)
    assert torch.equal(found.tensor, again.tensor)
    assert torch.equal(enodo.explain(model, X[:1], method, target=1, **more).tensor, found.tensor[:1])
    assert not before.changes()


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.4, training=True)


def test_a_gradient_at_a_glance_is_of_the_same_draw():
    model = nn.Sequential(nn.Linear(4, 6), Dropping(), nn.Linear(6, 1)).double().eval()
    first = enodo.explain(model, X, "gradient")
    assert torch.equal(first.tensor, enodo.explain(model, X, "gradient").tensor)
    assert not torch.equal(first.tensor, enodo.explain(model, X, "gradient", seed=1).tensor)


def test_what_begins_to_draw_later_is_noticed_and_what_has_ceased_to_is_not_held_to_it():
    model = Masked(lambda m, x: F.dropout(torch.ones_like(x), 0.5, training=m.on)).eval()
    model.on = False
    plain = enodo.explain(model, X, "input_x_gradient")
    assert not plain.notes
    before = torch.get_rng_state()
    model.on = True
    found = enodo.explain(model, X, "input_x_gradient")
    assert found.notes
    assert torch.equal(found.tensor, enodo.explain(model, X, "input_x_gradient").tensor)
    assert torch.equal(before, torch.get_rng_state())
    model.on = False
    assert not enodo.explain(model, X, "input_x_gradient").notes
    PASSES.clear()
    assert torch.equal(enodo.explain(model, X, "input_x_gradient").tensor, plain.tensor)
    assert PASSES == [5]


def test_a_forward_hook_may_draw():
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    model[0].register_forward_hook(lambda m, args, y: y + torch.randn_like(y))
    found = enodo.explain(model, X, target=1)
    assert torch.equal(found.scores, enodo.explain(model, X, target=1, batch_size=2).scores)


def test_functions_of_one_code_are_told_apart():
    def made(noise: bool):
        return lambda x: x * (np.random.normal() if noise else 1)  # noqa: NPY002

    assert not enodo.explain(made(False), X, "gradient", target=0).notes
    found = enodo.explain(made(True), X, "gradient", target=0)
    assert found.notes
    assert torch.equal(found.tensor, enodo.explain(made(True), X, "gradient", target=0).tensor)


def test_threads_have_the_answer_of_one():
    model = Masked(DRAWS["numpy"]).eval()
    torched = Masked(dropped).eval()
    models = (model, torched)
    one = [enodo.explain(m, X, steps=4).tensor for m in models]
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(6):
            for m, t in zip(models, one, strict=True):
                if not torch.equal(enodo.explain(m, X, steps=4).tensor, t):
                    wrong.append(1)

    pool = [threading.Thread(target=ask) for _ in range(3)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert not wrong


def test_a_quiet_model_is_not_taken_for_one_that_draws_where_others_draw_meanwhile():
    quiet = Masked(lambda m, x: torch.rand(1) if elsewhere() else torch.ones_like(x)).eval()

    def elsewhere() -> bool:
        thread = threading.Thread(target=lambda: torch.rand(3))
        thread.start()
        thread.join()
        return False

    found = enodo.explain(quiet, X, "input_x_gradient")
    assert not found.notes
    assert not draws_of(quiet)
    torch.testing.assert_close(found.tensor, X * quiet.w.detach())
    ahead = torch.get_rng_state()  # the thread's draws stay drawn
    torch.manual_seed(0)
    state = torch.get_rng_state()
    enodo.explain(quiet, X, "input_x_gradient")
    assert not torch.equal(state, torch.get_rng_state())
    assert not torch.equal(state, ahead)


@pytest.mark.parametrize("at", ["glance", "full"])
def test_an_error_leaves_the_generator_alone(at):
    def fails(x: Tensor) -> Tensor:
        raise RuntimeError(f"drew {torch.rand(3)}")

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="drew"):
        enodo.explain(fails, X if at == "glance" else (X,), "gradient")
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_in_train_mode_is_of_one_draw_too():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.4), nn.Linear(6, 1)).double().train()
    with pytest.warns(TrainModeWarning):
        found, again = (enodo.explain(model, X, batch_size=size) for size in (4, 1))
    assert found.delta.abs().max() < 1e-9
    assert torch.equal(found.tensor, again.tensor)


def test_an_audit_of_a_model_that_draws():
    found = audit(Masked(dropped).eval(), X)
    assert sum(calls for (name, _, _), calls in found.calls.items() if name == "sum") == 1


WAITS = """
import gc, sys, threading, torch
from enodo.core.draws import state_of

class Loop:
    def __init__(self): self.own = self
    def __del__(self): [None for _ in range(50)]

def ask():
    for _ in range(3000):
        Loop()
        state_of(torch.default_generator)

sys.setswitchinterval(1e-6)
gc.set_threshold(20, 2, 2)
pool = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
for thread in pool: thread.start()
for thread in pool: thread.join()
print("answered", flush=True)
"""


def test_threads_do_not_block_each_other_where_garbage_is_collected_as_a_state_is_read():
    """torch holds a generator's lock meanwhile, and who waits for that keeps all others from running."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = [sys.executable, "-c", WAITS]
    done = subprocess.run(start, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.stdout == "answered\n", done.stderr
