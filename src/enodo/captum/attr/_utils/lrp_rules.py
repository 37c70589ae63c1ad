"""Rules of relevance propagation that are set on modules, `module.rule = GammaRule()`, as classes."""

from __future__ import annotations

import copy
from abc import ABC
from typing import Any

import torch

from enodo.core.errors import BadType, describe, refuse
from enodo.rules import lrp
from enodo.rules.layer import Layer


class PropagationRule(ABC):  # noqa: B024  a subclass says what changes, or what its `treatment` is
    """A rule for one module: shares by a copy of it that `_manipulate_weights(module, inputs, outputs)` has changed."""

    STABILITY_FACTOR = 1e-9

    def treatment(self, module: torch.nn.Module) -> Any:
        """The rule that it is, for a module with this rule."""
        if not hasattr(self, "_manipulate_weights"):
            expected = "one that has _manipulate_weights(module, inputs, outputs)"
            refuse("rule", f"{describe(self)} on {module}", expected, kind=BadType)

        def changed(layer: Layer) -> tuple[torch.Tensor, Any]:
            own: Any = copy.deepcopy(module)
            with torch.no_grad():
                self._manipulate_weights(own, (layer.x,), layer.y)
            return own.weight.detach(), 0 if layer.b is None else own.bias.detach().reshape(layer.b.shape)

        return lrp.reweighted(changed, self.STABILITY_FACTOR)


class EpsilonRule(PropagationRule):
    """`enodo.rules.lrp.epsilon`."""

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.STABILITY_FACTOR = epsilon

    def treatment(self, module: torch.nn.Module) -> Any:
        return lrp.epsilon(self.STABILITY_FACTOR)


class GammaRule(PropagationRule):
    """Positive weights count 1 + gamma times, for activations that are not negative; see `enodo.rules.lrp.gamma`."""

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma, self.set_bias_to_zero = gamma, set_bias_to_zero

    def treatment(self, module: torch.nn.Module) -> Any:
        def changed(layer: Layer) -> tuple[torch.Tensor, Any]:
            return layer.w + self.gamma * layer.w.clamp(min=0), layer.biases(not self.set_bias_to_zero)

        return lrp.reweighted(changed, self.STABILITY_FACTOR)


class Alpha1_Beta0_Rule(PropagationRule):
    """Positive weights alone, for activations that are not negative; see `enodo.rules.lrp.alpha_beta`."""

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero

    def treatment(self, module: torch.nn.Module) -> Any:
        def changed(layer: Layer) -> tuple[torch.Tensor, Any]:
            return layer.w.clamp(min=0), layer.biases(not self.set_bias_to_zero)

        return lrp.reweighted(changed, self.STABILITY_FACTOR)


class IdentityRule(EpsilonRule):
    """`enodo.rules.lrp.identity`: what goes in has the relevance of what comes out, entry by entry."""

    def treatment(self, module: torch.nn.Module) -> Any:
        return lrp.identity


def rules_of(model: Any) -> dict[torch.nn.Module, Any]:
    """The rules that are set on the modules of a model."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    set_on: dict[torch.nn.Module, Any] = {m: m.rule for m in modules if getattr(m, "rule", None) is not None}
    for module, rule in set_on.items():
        if not isinstance(rule, PropagationRule):
            given = f"{describe(rule)} on {module}"
            instead = "Those of captum itself are other classes."
            refuse("rule", given, "a rule of enodo.captum.attr._utils.lrp_rules", instead, kind=BadType)
    return {module: rule.treatment(module) for module, rule in set_on.items()}
