"""Places in a model: every spelling, what is refused, and hooks that only act in their own pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import enodo
from enodo import EMBEDDING, INPUT, OUTPUT, BadArgument, Point
from enodo.core import tree as trees
from enodo.core.points import Watched, locate

words = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
names = st.lists(words | st.integers(0, 99).map(str), min_size=1, max_size=4).map(".".join)
keys = st.lists(st.integers(-3, 99) | words, max_size=3).map(tuple)
points = st.builds(Point, names, st.sampled_from(["in", "out"]), st.none() | st.integers(-1, 99), keys)
ends = st.builds(lambda p, k: Point(side=p.side, path=k), st.sampled_from([INPUT, OUTPUT, EMBEDDING]), keys)


@given(points | ends)
def test_what_is_spelt_is_read_back(point):
    assert Point.parse(str(point)) == point


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("layer1.0", Point("layer1.0")),
        ("layer1.0:in", Point("layer1.0", "in")),
        ("layer1.0:out", Point("layer1.0")),
        ("cell@2", Point("cell", call=2)),
        ("cell@-1", Point("cell", call=-1)),
        ("cell@2:in[0]", Point("cell", "in", 2, (0,))),
        ("lstm[0]", Point("lstm", path=(0,))),
        ("lstm[1][-1]", Point("lstm", path=(1, -1))),
        ("head['logits']", Point("head", path=("logits",))),
        ('head["logits"]', Point("head", path=("logits",))),
        ("head[logits]", Point("head", path=("logits",))),
        ("", Point("")),
        ("INPUT", INPUT),
        ("input", INPUT),
        ("OUTPUT", OUTPUT),
        ("EMBEDDING", EMBEDDING),
        ("INPUT['input_ids']", INPUT["input_ids"]),
        (INPUT["a"][0], Point(side="input", path=("a", 0))),
    ],
)
def test_spellings(spec, wanted):
    assert Point.parse(spec) == wanted


@pytest.mark.parametrize("spec", ["layer:sideways", "a:in:out", "a@x", "a[0", "a]0[", "a@1.5", "a@-2", 7, None, b"a"])
def test_what_cannot_be_read_is_refused(spec):
    with pytest.raises(BadArgument):
        Point.parse(spec)


def test_a_bad_side_or_call_is_refused_where_it_is_written():
    with pytest.raises(BadArgument, match="side"):
        Point("a", side="left")
    with pytest.raises(BadArgument, match="call"):
        Point("a", call=-2)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        self.head = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(x))


def test_a_module_and_its_name_are_one_place():
    model = Net()
    by_name, name = locate("encoder.0:in", model, "wrt")
    by_module, other = locate(Point(model.encoder[0], side="in"), model, "wrt")
    assert by_name == by_module
    assert name == other == "encoder.0:in"
    assert locate("", model, "wrt")[0].layer is model


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("encoder.1.0", "encoder.0"),
        ("had", "'head'"),
        ("Encoder", "'encoder'"),
    ],
)
@pytest.mark.parametrize("argument", ["wrt", "of"])
def test_an_unknown_layer_is_refused_with_the_nearest_names(spec, said, argument):
    with pytest.raises(BadArgument, match=said) as caught:
        locate(spec, Net(), argument)
    assert caught.value.argument == argument


def test_a_module_that_does_not_run_is_refused():
    with pytest.raises(BadArgument, match=r"Linear.* ran 0 times"):
        enodo.explain(Net().eval(), torch.ones(2, 2), "gradient", target=0, wrt=nn.Linear(2, 2))


def test_a_plain_function_has_no_layer_names():
    with pytest.raises(BadArgument, match="plain function"):
        locate("head", lambda x: x, "wrt")


@pytest.mark.parametrize(
    ("question", "argument"),
    [
        ({"wrt": "nowhere"}, "wrt"),
        ({"of": "nowhere"}, "of"),
        ({"wrt": "OUTPUT"}, "wrt"),
        ({"of": "INPUT"}, "of"),
        ({"of": EMBEDDING}, "of"),
        ({"wrt": []}, "wrt"),
        ({"wrt": EMBEDDING}, "wrt"),
        ({"wrt": 3}, "wrt"),
        ({"wrt": "head@1"}, "wrt"),
        ({"wrt": "head[3]"}, "wrt"),
        ({"wrt": INPUT["a"]}, "wrt"),
        ({"wrt": "head", "of": "encoder"}, "wrt"),
    ],
)
def test_questions_at_places_that_cannot_be(question, argument):
    with pytest.raises(BadArgument) as caught:
        enodo.explain(Net().eval(), torch.ones(2, 2), "gradient", target=0, **question)
    assert argument in caught.value.argument


def test_a_hook_acts_in_its_own_pass_only_and_leaves_with_it():
    model, x = Net(), torch.ones(1, 2)
    plain = model(x)
    ours = [(locate("encoder", model, "wrt")[0], lambda value, call: value * 0)]
    with Watched(ours):
        assert not torch.equal(model(x), plain)
        with Watched([]):
            assert torch.equal(model(x), plain)  # a pass within the pass
        with ThreadPoolExecutor(1) as other:
            assert torch.equal(other.submit(model, x).result(), plain)
        assert not torch.equal(model(x), plain)
    assert torch.equal(model(x), plain)
    with pytest.raises(BadArgument), Watched([*ours, (Point(torch.jit.script(nn.ReLU())), ours[0][1])]):
        raise AssertionError("entered although the second layer cannot be watched")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Keyed(nn.Module):
    """A layer called with keyword arguments only, with both kinds, and with several positional ones."""

    def __init__(self) -> None:
        super().__init__()
        self.add = Add()

    def forward(self, x: torch.Tensor, way: str) -> torch.Tensor:
        if way == "keywords":
            return self.add(a=x, b=2 * x)
        return self.add(x, b=2 * x) if way == "both" else self.add(x, 2 * x)


class Add(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + 3 * b


@pytest.mark.parametrize(
    ("way", "second"), [("keywords", "add:in[b]"), ("both", "add:in[1][b]"), ("positions", "add:in[1]")]
)
def test_the_input_side_has_what_the_layer_is_called_with(way, second):
    x = torch.ones(2, 3)
    whole = enodo.explain(Keyed().eval(), x, "gradient", wrt="add:in", target=0, kwargs={"way": way})
    assert len(list(trees.leaves(whole.values))) == 2
    part = enodo.explain(Keyed().eval(), x, "gradient", wrt=second, target=0, kwargs={"way": way})
    assert torch.equal(part.tensor, torch.tensor([[3.0, 0, 0]] * 2))
