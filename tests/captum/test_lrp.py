"""LRP: Captum's numbers where Captum has a rule."""

from __future__ import annotations

from typing import Any

import captum.attr as theirs
import captum.attr._utils.lrp_rules as their_rules
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
import enodo.captum.attr._utils.lrp_rules as our_rules
from enodo.testing.models import normal
from tests.captum.compare import same

RULES: dict[str, dict[int, tuple[str, dict[str, Any]]]] = {
    "default": {},
    "epsilon": {0: ("EpsilonRule", {"epsilon": 0.1}), 4: ("EpsilonRule", {"epsilon": 0.5})},
    "gamma": {4: ("GammaRule", {"gamma": 0.5})},
    "gamma without bias": {4: ("GammaRule", {"set_bias_to_zero": True})},
    "alpha": {4: ("Alpha1_Beta0_Rule", {})},
    "alpha without bias": {4: ("Alpha1_Beta0_Rule", {"set_bias_to_zero": True})},
}


def cnn(kind: Any, name: str) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(), nn.Conv2d(4, 4, 2), nn.ReLU()
    model = Flat(*layers, nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)).eval()
    for i, (rule, options) in RULES[name].items():
        model[i].rule = getattr(kind, rule)(**options)
    return model


class Flat(nn.Sequential):
    """Layers of which the last is given a flat input; Captum has no rule for nn.Flatten."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, n)."""
        for layer in self[:-1]:
            x = layer(x)
        scores: Tensor = self[-1](x.flatten(1))
        return scores


def images() -> Tensor:
    return normal(3, 2, 8, 8).float()


def sides(name: str, cls: str, layer: Any = None, **question: Any) -> tuple[Any, Any]:
    found = []
    for lib, kind in ((ours, our_rules), (theirs, their_rules)):
        model = cnn(kind, name)
        args = () if layer is None else ([model[i] for i in layer] if isinstance(layer, list) else model[layer],)
        found.append(getattr(lib, cls)(model, *args).attribute(images(), target=1, **question))
    return found[0], found[1]


@pytest.mark.parametrize("name", RULES)
def test_lrp(name: str) -> None:
    mine, reference = sides(name, "LRP", return_convergence_delta=True)
    same(mine, reference)


@pytest.mark.parametrize("layer", [2, 4, [2, 4]])
def test_layer_lrp(layer: Any) -> None:
    same(*sides("default", "LayerLRP", layer))


def test_the_delta_by_itself() -> None:
    for lib, kind in ((ours, our_rules), (theirs, their_rules)):
        model = cnn(kind, "default")
        lrp = lib.LRP(model)
        values, delta = lrp.attribute(images(), target=1, return_convergence_delta=True)
        torch.testing.assert_close(lrp.compute_convergence_delta(values, model(images())[:, 1]), delta)


def test_the_identity_rule_hands_relevance_on_entry_by_entry() -> None:
    """Of y = 3 x + 1 all of y's relevance goes to x; epsilon would leave what the bias made."""
    layer = nn.Conv1d(1, 1, 1)
    nn.init.constant_(layer.weight, 3.0)
    nn.init.constant_(layer.bias, 1.0)
    model, x = nn.Sequential(layer, nn.Flatten(), nn.Linear(4, 2, bias=False)).eval(), normal(2, 1, 4).float()
    layer.rule = our_rules.IdentityRule()
    found = ours.LRP(model).attribute(x, target=1)
    torch.testing.assert_close(found[:, 0], (layer(x)[:, 0] * model[2].weight[1]).detach())


def test_rules_stay_where_they_were_set() -> None:
    model = cnn(our_rules, "gamma")
    first, second = (ours.LRP(model).attribute(images(), target=1) for _ in range(2))
    assert torch.equal(first, second)
    assert isinstance(model[4].rule, our_rules.GammaRule)
    assert not torch.allclose(first, ours.LRP(cnn(our_rules, "default")).attribute(images(), target=1))


def test_a_rule_class_of_ones_own() -> None:
    """It changes a module's weights and bias as it likes, of what the module is given; the model stays as it is."""
    found = []
    for lib, kind in ((ours, our_rules), (theirs, their_rules)):

        class Sized(kind.PropagationRule):  # type: ignore[name-defined,misc]
            def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
                module.weight.data = module.weight.data.abs() * (1 + inputs[0].max()) + outputs.min()
                module.bias.data = module.bias.data / 2

        model = cnn(our_rules, "default")
        model[4].rule, model[7].rule = Sized(), Sized()
        weights = model[4].weight.clone()
        found.append(lib.LRP(model).attribute(images(), target=1))
        assert torch.equal(model[4].weight, weights)
    same(*found)


@pytest.mark.parametrize("rule", [3, their_rules.GammaRule(), our_rules.PropagationRule()])
def test_what_is_no_rule_is_refused(rule: Any) -> None:
    model = cnn(our_rules, "default")
    model[4].rule = rule
    with pytest.raises(TypeError, match=r"rule: got .* on Conv2d.*expected"):
        ours.LRP(model).attribute(images(), target=1)


@pytest.mark.parametrize("rule", [None, "GammaRule", "Alpha1_Beta0_Rule"])
def test_batch_norms_stand_for_themselves(rule: str | None) -> None:
    """Captum gives them the epsilon rule; the method itself merges them into the layer before."""
    found = []
    for lib, kind in ((ours, our_rules), (theirs, their_rules)):
        torch.manual_seed(0)
        model = Flat(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(147, 3)).eval()
        model[1].running_mean.copy_(torch.tensor([0.5, -0.3, 0.1]))
        if rule is not None:
            model[0].rule = getattr(kind, rule)()
        found.append(lib.LRP(model).attribute(images(), target=1))
    same(*found)
