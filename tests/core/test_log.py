"""Progress, counts and notes; and errors that say what was given, what was expected and what to write."""

from __future__ import annotations

import pickle

import pytest
import torch

import enodo
from enodo import BadArgument, BadType, EnodoError, NoPath, NotFinite
from enodo.core.errors import describe, nearest
from enodo.core.log import Log
from tests.methods.models import Mlp, uniform


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("integrated_gradients", {"steps": 20}),
        ("integrated_gradients", {"tol": 1e-3}),
        ("gradient_shap", {"samples": 20}),
        ("smoothgrad", {"samples": 20}),
        ("conductance", {"steps": 20, "wrt": "act1"}),
    ],
)
def test_progress_grows_to_what_was_planned(method, options):
    calls: list[tuple[int, int]] = []
    got = enodo.explain(
        Mlp(4), uniform(3, 4), method, target=1, batch_size=6, progress=lambda d, p: calls.append((d, p)), **options
    )
    done = [d for d, _ in calls]
    assert done == sorted(done)
    assert all(d <= p for d, p in calls)
    assert calls[-1][0] == got.rows
    assert len(set(done)) > 5
    assert calls[-1][1] <= got.rows * 1.2 + 6


def test_a_bar_is_drawn_and_closed(capsys):
    pytest.importorskip("tqdm")
    enodo.explain(Mlp(4), uniform(3, 4), target=1, progress=True)
    seen = capsys.readouterr()
    assert "row" in seen.err
    assert not seen.out
    enodo.explain(Mlp(4), uniform(3, 4), target=1)
    assert not capsys.readouterr().err


def test_a_progress_function_may_stop_the_work():
    """What it raises comes out, and the model is left as it was."""

    class Enough(Exception):
        pass

    def stop(done: int, planned: int) -> None:
        if done > 10:
            raise Enough

    model = Mlp(4)
    with pytest.raises(Enough):
        enodo.explain(model, uniform(3, 4), target=1, batch_size=3, progress=stop, wrt="act1")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_notes_are_said_once():
    log = Log()
    for text in ("a", "b", "a"):
        log.note(text)
    assert log.notes == ["a", "b"]


def test_rows_are_those_that_ran():
    rows: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return x.square().sum(1)

    for method in ("gradient", "integrated_gradients", "smoothgrad", "gradient_shap", "activation"):
        rows.clear()
        assert enodo.explain(model, uniform(3, 4), method).rows == sum(rows), method


class TestErrors:
    def test_they_are_errors_of_their_kind_and_of_python(self):
        assert issubclass(BadArgument, EnodoError)
        assert issubclass(BadArgument, ValueError)
        assert issubclass(BadType, TypeError)
        assert issubclass(NoPath, BadArgument)
        assert issubclass(NotFinite, BadArgument)

    def test_the_sentence_has_four_parts(self):
        error = BadArgument("steps", "0", "at least 1", "Write steps=50.")
        assert str(error) == "steps: got 0; expected at least 1. Write steps=50."
        assert str(BadArgument("steps", "0", "at least 1")) == "steps: got 0; expected at least 1."

    @pytest.mark.parametrize("kind", [BadArgument, BadType, NoPath, NotFinite])
    def test_they_can_be_sent_between_processes(self, kind):
        error = pickle.loads(pickle.dumps(kind("a", "b", "c", "d")))
        assert type(error) is kind
        assert (error.argument, error.given, error.expected, error.instead) == ("a", "b", "c", "d")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (torch.zeros(2, 3), "a float32 tensor of shape (2, 3)"),
            ((torch.zeros(1), 5), "a tuple of (a float32 tensor of shape (1,), 5)"),
            ({"a": torch.zeros(1, dtype=torch.long)}, "a dict with 'a': an int64 tensor of shape (1,)"),
            (5, "5"),
            ("text", "'text'"),
            (None, "None"),
        ],
    )
    def test_values_are_described(self, value, text):
        assert describe(value) == text

    def test_descriptions_are_short(self):
        assert len(describe(list(range(1000)))) <= 80
        assert describe({1, 2}).startswith("set {1")

    def test_the_nearest_names(self):
        assert nearest("hed", ["head", "body"]) == "Did you mean 'head'?"
        assert nearest("xyz", ["head", "body"]) == "Known: head, body."
        assert nearest("xyz", [f"layer{i}" for i in range(20)]).endswith("layer11, ...")

    @pytest.mark.parametrize(
        ("question", "kind", "said"),
        [
            ({"inputs": torch.tensor([[float("nan")] * 4])}, NotFinite, "inputs"),
            ({"baseline": float("inf")}, NotFinite, "baseline"),
            ({"model": 5}, BadType, "model"),
            ({"seed": "x"}, BadType, "seed"),
        ],
    )
    def test_bad_questions_name_the_argument(self, question, kind, said):
        inputs = question.pop("inputs", uniform(2, 4))
        with pytest.raises(kind) as caught:
            enodo.explain(question.pop("model", Mlp(4)), inputs.double(), target=0, **question)
        assert caught.value.argument == said

    def test_a_parameter_that_is_nan_is_named(self):
        model = Mlp(4)
        with torch.no_grad():
            model.second.bias[1] = float("nan")
        with pytest.raises(NotFinite, match=r"second\.bias"):
            enodo.explain(model, uniform(2, 4), target=0)

    def test_no_path_is_said(self):
        with pytest.raises(NoPath, match="no gradient reaches"):
            enodo.explain(lambda x: x.detach().sum(1), uniform(2, 4), "gradient")

    def test_an_unused_input_is_zero_with_a_note(self):
        got = enodo.explain(lambda a, b: a.sum(1), (uniform(2, 3), uniform(2, 3)), "gradient")
        assert not got[1].any()
        assert len(got.notes) == 1
        assert "[1]" in got.notes[0]

    def test_train_mode_is_warned_of_once(self):
        with pytest.warns(enodo.TrainModeWarning) as caught:
            enodo.explain(Mlp(4).train(), uniform(2, 4), target=0)
        assert len(caught) == 1
        assert caught[0].filename == __file__
