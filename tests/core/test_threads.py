"""What threads have in common, and the children of forks: nobody waits for ever, and switches are as they were."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest
import torch
from torch import Tensor, nn

import enodo
from enodo.core.state import plain_attention, without_compiling
from enodo.core.transforms import untold
from enodo.testing.models import normal

X = normal(3, 4)


def by_another(*calls) -> None:
    """Have another thread make each of some calls in turn, each waited for."""
    for call in calls:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()


def stance() -> str:
    from torch._dynamo import eval_frame

    return eval_frame._stance.stance


def attends_plainly() -> bool:
    return not torch.backends.cuda.flash_sdp_enabled()


def warns_of_no_batching() -> bool:
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        torch.func.vmap(lambda t: torch.histc(t, 4))(X)
    return any("performance drop" in str(w.message) for w in met)


@pytest.mark.parametrize(
    ("switch", "is_turned"),
    [
        (without_compiling, lambda: stance() == "force_eager"),
        (plain_attention, attends_plainly),
        (untold, lambda: not warns_of_no_batching()),
    ],
)
def test_the_first_to_leave_does_not_turn_a_switch_back_on_those_inside(switch, is_turned):
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with switch:
            entered.set()
            leave.wait(60)

    assert not is_turned()
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(60)
    with switch:
        leave.set()
        thread.join()
        assert is_turned()
        with switch:
            pass
        assert is_turned()
    assert not is_turned()


def test_filters_of_warnings_are_left_to_those_who_set_them():
    """As a background is compared with: of a thread, which would put back those that it found."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 2)).double().eval()
    set_by_others = ("ignore", None, ResourceWarning, "others", 0)

    def meanwhile(grad: Tensor) -> None:
        warnings.filters.insert(0, set_by_others)

    model[0].register_forward_hook(lambda m, args, y: y.register_hook(meanwhile) and None if y.requires_grad else None)
    with warnings.catch_warnings():
        enodo.explain(model, X, "deeplift_shap", target=1, baseline=normal(5, 4))
        assert set_by_others in warnings.filters


def test_a_pass_waits_for_no_other_threads_pass():
    """Both are in the model at once, also where what is worked out once (what is absent, at a layer) takes a pass."""
    together = threading.Barrier(2)

    class Meeting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            together.wait(20)
            return self.layer(x)

    model, found = Meeting().double().eval(), list[Tensor]()

    def ask() -> None:
        found.append(enodo.explain(model, X, "exact_shapley", target=1, wrt="layer", baseline=0.5 * X).tensor)

    pool = [threading.Thread(target=ask) for _ in range(2)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert len(found) == 2


FORKS = """
import faulthandler, os, threading
import numpy as np, torch, enodo
from enodo.core.state import plain_attention

class Noisy(torch.nn.Module):
    def forward(self, x):
        reached.set()
        go_on.wait()
        return x * float(np.random.rand())

def ask():
    x = torch.ones(2, 4, dtype=torch.float64)
    return enodo.explain(model, x, "gradient", create_graph=True, target=0).tensor

reached, go_on, model = threading.Event(), threading.Event(), Noisy().eval()
go_on.set()
true = ask()
reached.clear(); go_on.clear()
threading.Thread(target=ask, daemon=True).start()
reached.wait()
child = os.fork()
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on = threading.Event(); go_on.set()
faulthandler.dump_traceback_later(30, exit=True)
assert not plain_attention.inside and torch.backends.cuda.flash_sdp_enabled()
assert torch.equal(ask(), true)
os._exit(7)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_child_forked_while_another_thread_asks_can_ask():
    """There the other thread, which holds the random state and wants attention in plain products, is no more."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    start = [sys.executable, "-c", FORKS]
    done = subprocess.run(start, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 7, done.stderr
