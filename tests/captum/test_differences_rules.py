"""Deliberate differences from Captum in rules on operations, where its hooks on modules miss their turn."""

from __future__ import annotations

import captum.attr as theirs
import captum.attr._utils.lrp_rules as their_rules
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
import enodo.captum.attr._utils.lrp_rules as our_rules
from tests.captum.compare import close
from tests.captum.models import Lambda

pytestmark = pytest.mark.filterwarnings("ignore")


def test_max_pools_behind_an_activation() -> None:
    """max(relu(x)) from (0.25, 0.75) to (0.5, 0): the larger of both maxima is the baseline's, which takes all."""
    model = nn.Sequential(nn.ReLU(), nn.MaxPool1d(2), nn.Flatten()).eval()
    x, x0 = torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[0.25, 0.75]]])
    found = [attr.DeepLift(model).attribute(x, x0, target=0) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[[0.25, 0.0]]]))
    close(found[1], torch.tensor([[[0.0, -0.25]]]))


def test_the_input_of_an_activation() -> None:
    """relu(x) from -1 to 2 is 2, of which the other entry has no part."""
    first, relu = nn.Linear(2, 2, bias=False), nn.ReLU()
    first.weight.data = torch.eye(2)
    model, x, x0 = nn.Sequential(first, relu).eval(), torch.tensor([[2.0, -1.0]]), torch.tensor([[-1.0, 3.0]])
    to_input = {"target": torch.tensor([0]), "attribute_to_layer_input": True}
    found = [attr.LayerDeepLift(model, relu).attribute(x, x0, **to_input) for attr in (theirs, ours)]
    close(found[0], torch.tensor([[3.0, 0.0]]))
    close(found[1], torch.tensor([[2.0, 0.0]]))


def test_relevance_past_functions() -> None:
    """The mean of 1 and 3 is 2: of its relevance, 2, they have 0.5 and 1.5."""
    first = nn.Linear(2, 2, bias=False)
    first.weight.data = torch.eye(2)
    model, x = Lambda(lambda x: first(x).mean(1, keepdim=True), first), torch.tensor([[1.0, 3.0]])
    found = []
    for attr, rules in ((theirs, their_rules), (ours, our_rules)):
        first.rule = rules.EpsilonRule()
        found.append(attr.LRP(model).attribute(x, target=0))
    assert (found[0] - torch.tensor([[0.5, 1.5]])).abs().max() > 0.1
    close(found[1], torch.tensor([[0.5, 1.5]]))


def test_own_gradient_func() -> None:
    """A method that is given another function for gradients."""

    def twice(forward: object, inputs: tuple[Tensor, ...], target: object = None, args: object = None) -> object:
        return tuple(2 * torch.ones_like(t) for t in inputs)

    x, found = torch.ones(1, 2), []
    for attr in (theirs, ours):
        found.append(attr.Saliency(lambda x: x.sum(1)))
        found[-1].gradient_func = twice
    close(found[0].attribute(x), torch.full((1, 2), 2.0))
    with pytest.raises(ValueError, match="gradient_func"):
        found[1].attribute(x)


def test_inputs_without_places() -> None:
    """A picture and a row of a table, guided by a map of the picture."""
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1)).eval()
    model, x = Lambda(lambda x, y: body(x) + y, body), (torch.rand(1, 1, 4, 4), torch.rand(1, 1))
    theirs_, ours_ = (attr.GuidedGradCam(model, body[0]).attribute(x, target=0) for attr in (theirs, ours))
    close(ours_[0], theirs_[0])
    assert theirs_[1].shape == (0,)
    close(ours_[1], torch.zeros(1, 1))
