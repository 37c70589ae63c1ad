"""Methods of one's own: a function of a Question works wherever a name does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import enodo
from enodo import BadArgument, BadType, Question, Values
from enodo.core import registry
from tests.methods.models import Bag, Mlp, tensor, uniform


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Methods registered by a test go with it."""
    before = dict(registry._cards)
    yield
    registry._cards.clear()
    registry._cards.update(before)


def half_way(q: Question, *, share: float = 0.5, sign: bool = False) -> Values:
    """The gradient part of the way from the baseline, times the way."""
    way = q.x - q.x0
    total = None
    for _, _, g in q.grads(1, lambda i, j: (q.x0 + way * share).map(lambda t: t[None])):
        total = g.map(lambda t: t[0])
    out = total * way
    return out.map(torch.sign) if sign else out


MODEL, X = Mlp(4), uniform(3, 4)


def test_a_function_is_a_method():
    """One midpoint node is the midpoint rule of one step."""
    got = enodo.explain(MODEL, X, half_way, target=1)
    torch.testing.assert_close(got.tensor, tensor(MODEL, X, "integrated_gradients", target=1, steps=1))
    assert got.method == "half_way"
    assert got.options == {"share": 0.5, "sign": False}


def test_it_works_at_every_place_target_and_input():
    ig = {"method": "integrated_gradients", "steps": 1}
    for question in (
        {"target": 0, "wrt": "act1"},
        {"target": 2, "of": "act2"},
        {"target": 2, "of": "act2", "wrt": "first"},
        {"target": "predicted", "baseline": 0.3},
        {"target": 1, "batch_size": 2},
    ):
        got = tensor(MODEL, X, half_way, **question)  # type: ignore[arg-type]
        torch.testing.assert_close(got, enodo.explain(MODEL, X, **question, **ig).tensor)
    several = enodo.explain(MODEL, X, half_way, target=1, wrt=["first", "act2"])
    assert [tuple(t.shape) for t in several.values] == [(3, 6), (3, 5)]
    bag, ids = Bag(), torch.tensor([[1, 2], [3, 4]])
    assert enodo.explain(bag, ids, half_way, target=0).shape == (2, 2)
    smooth = enodo.explain(MODEL, X, "smoothgrad", inner=half_way, noise=0.0, target=1, samples=2)
    torch.testing.assert_close(smooth.tensor, tensor(MODEL, X, half_way, target=1))  # type: ignore[arg-type]


def test_registered_it_has_a_name_a_card_and_aliases():
    enodo.method("half_way", title="Half way", paper="ours", needs="gradient score baseline", aliases=("middle",))(
        half_way
    )
    card = enodo.methods()["half_way"]
    assert card.summary == "The gradient part of the way from the baseline, times the way."
    assert list(card.options) == ["share", "sign"]
    assert card.title == "Half way"
    by_function = tensor(MODEL, X, half_way, target=1)  # type: ignore[arg-type]
    for name in ("half_way", "middle", "half-way", "Half-Way"):
        assert torch.equal(tensor(MODEL, X, name, target=1), by_function)
    assert "middle" not in enodo.methods()


@pytest.mark.parametrize("name", ["Grad-CAM++", "GradCAMPlusPlus", "gradcam++", "grad_cam_plus_plus"])
def test_names_are_known_however_they_are_spelt(name):
    assert registry.card_of(name).name == "grad_cam_plus_plus"


def test_a_name_cannot_be_taken_from_another():
    with pytest.raises(BadArgument, match="gradient"):
        enodo.method("gradient")(half_way)
    with pytest.raises(BadArgument, match="ig"):
        enodo.method("mine", aliases=("ig",))(half_way)


@pytest.mark.parametrize(
    ("method", "near"),
    [
        ("integrated_gradient", "integrated_gradients"),
        ("grdient", "gradient"),
        ("extremal_pertubation", "extremal_perturbation"),
        ("shap", "gradient_shap"),
    ],
)
def test_an_unknown_method_is_refused_with_the_nearest(method, near):
    with pytest.raises(BadArgument, match=f"'{near}'") as caught:
        enodo.explain(MODEL, X, method, target=0)
    assert caught.value.argument == "method"


@pytest.mark.parametrize("method", [None, 5, ["gradient"], torch.nn.ReLU])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(MODEL, X, method, target=0)
    assert "method" in caught.value.argument or "options" in caught.value.argument


@pytest.mark.parametrize(
    ("method", "options", "near"),
    [
        ("integrated_gradients", {"n_steps": 5}, "'steps'"),
        ("integrated_gradients", {"quadratur": "fejer"}, "'quadrature'"),
        ("gradient", {"abs": True}, "'absolute'"),
        ("activation", {"layer": "act1"}, "it has none"),
        ("smoothgrad", {"inner": "gradient", "absolut": True}, "'absolute'"),
        (half_way, {"shares": 0.1}, "'share'"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(method, options, near):
    with pytest.raises(BadType, match=near) as caught:
        enodo.explain(MODEL, X, method, target=0, **options)
    assert caught.value.argument == "options"


def test_a_required_option_is_asked_for():
    with pytest.raises(BadType, match="'through'"):
        enodo.explain(MODEL, X, "neuron_conductance", target=0)


@pytest.mark.parametrize("answer", [None, torch.zeros(3, 4), 5])
def test_a_method_that_returns_something_else_is_named(answer):
    def odd(q: Question) -> Any:
        """Not what a method does."""
        return answer

    with pytest.raises(BadArgument, match=r"odd.*Values"):
        enodo.explain(MODEL, X, odd, target=0)


def test_every_card_is_complete():
    """What people read of a method is there: title, paper, when to use it, a first sentence, explained options."""
    for name, card in enodo.methods().items():
        assert card.title, name
        assert card.when.endswith("."), name
        assert card.paper or name == "activation", name
        assert card.summary.endswith("."), name
        assert ". " not in card.summary, f"{name}: one sentence, for readers of reports"
        assert "`" not in card.summary, name
        assert card.needs <= {"gradient", "score", "baseline", "background", "absence"}, name
        known = {"completeness", "each", "map", "shared", "batch", "once", "size", "layer", "cells"}
        assert card.claims <= known, name
        assert "each" not in card.claims or "completeness" in card.claims, name
