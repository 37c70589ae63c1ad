"""Arguments that many classes share reach the model, in each class that takes them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as attr
from enodo.testing.faults import Meter, metered
from enodo.testing.models import normal, seeded

pytestmark = pytest.mark.filterwarnings("ignore::enodo.core.errors.SamplingWarning")
APART = {"LimeBase", "DataLoaderAttribution"}  # made of other things than a model


def taking(argument: str) -> list[str]:
    """The classes whose `attribute` has this argument."""
    kinds = {name: kind for name, kind in vars(attr).items() if hasattr(kind, "attribute")}
    return [n for n, k in kinds.items() if argument in inspect.signature(k.attribute).parameters and n not in APART]


class Net(nn.Module):
    """(B, 1, 4, 4) -> (B, 3), of inputs that an argument scales."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.conv, self.head, self.scale = nn.Conv2d(1, 2, 3), nn.Linear(8, 3), scale

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        return self.head(torch.relu(self.conv(x * (self.scale if scale is None else scale))).flatten(1))


def asked(name: str, model: Net, **more: Any) -> list[Tensor]:
    """What a class answers about two pictures, with what it cannot do without."""
    kind, x = getattr(attr, name), normal(2, 1, 4, 4)
    known = inspect.signature(kind.attribute).parameters
    given = {"target": 1, "neuron_selector": (0, 1, 1), "baselines": x * 0.1, "sliding_window_shapes": (1, 2, 2)}
    place = [model.conv] if "layer" in inspect.signature(kind).parameters else []
    torch.manual_seed(0)
    found = kind(model, *place).attribute(x, **{k: v for k, v in given.items() if k in known} | more)
    return list(found) if isinstance(found, (tuple, list)) else [found]


@pytest.mark.parametrize("name", taking("additional_forward_args"))
def test_additional_forward_args(name: str) -> None:
    """A scale that is given is as one that the model has of itself."""
    found = asked(name, seeded(Net(1.0)), additional_forward_args=(-3.0,))
    wanted = asked(name, seeded(Net(-3.0)))
    assert not all(map(torch.equal, wanted, asked(name, seeded(Net(1.0)))))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", taking("show_progress"))
@pytest.mark.parametrize("wanted", [False, True])
def test_show_progress(name: str, wanted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    asked(name, seeded(Net()), show_progress=wanted)
    out, err = capsys.readouterr()
    assert out == ""
    assert bool(err) == wanted


@pytest.mark.parametrize("name", taking("internal_batch_size"))
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_no_pass_has_more_rows_than_internal_batch_size(name: str, rows: int) -> None:
    model, meter = seeded(Net()), Meter()
    with metered(model, meter):
        asked(name, model, internal_batch_size=rows, n_steps=9)
    assert meter.largest <= rows
    assert meter.counts["forward"] >= 18 // rows


@pytest.mark.parametrize("name", taking("perturbations_per_eval"))
@pytest.mark.parametrize("count", [2, 5])
def test_no_pass_has_more_perturbations_than_asked_for(name: str, count: int) -> None:
    """Of each of both pictures; 1, the default, leaves it to what fits."""
    model, meter = seeded(Net()), Meter()
    with metered(model, meter):
        asked(name, model, perturbations_per_eval=count)
    assert meter.largest <= 2 * count


@pytest.mark.parametrize("name", [n for n in taking("baselines") if "Activation" not in n])
def test_baselines(name: str) -> None:
    model, x = seeded(Net()), normal(2, 1, 4, 4)
    found, other = (asked(name, model, baselines=b) for b in (x.roll(1, 3), -2 * x))
    assert not any(map(torch.equal, found, other))


@pytest.mark.parametrize("name", taking("method"))
def test_method(name: str) -> None:
    found, other = (asked(name, seeded(Net()), method=f"riemann_{side}", n_steps=5) for side in ("left", "right"))
    assert not any(map(torch.equal, found, other))


@pytest.mark.parametrize("name", taking("attribute_to_layer_input") + taking("attribute_to_neuron_input"))
def test_what_goes_into_a_layer_instead_of_what_comes_out(name: str) -> None:
    which = "attribute_to_neuron_input" if name.startswith("Neuron") else "attribute_to_layer_input"
    out, into = (asked(name, seeded(Net()), **{which: to_input})[0] for to_input in (False, True))
    assert out.shape != into.shape or not torch.equal(out, into)


@pytest.mark.parametrize(
    ("argument", "count"), [("additional_forward_args", 38), ("show_progress", 7), ("internal_batch_size", 6)]
)
def test_all_are_met(argument: str, count: int) -> None:
    assert len(taking(argument)) == count
