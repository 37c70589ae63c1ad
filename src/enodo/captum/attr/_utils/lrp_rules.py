"""Rules of relevance propagation that are set on modules, `module.rule = GammaRule()`, as classes."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
from torch import Tensor

from enodo.rules import lrp


class PropagationRule(ABC):  # noqa: B024  its subclasses say what `treatment` is
    """A rule for one module."""

    STABILITY_FACTOR = 1e-9

    treatment: Any = None


class EpsilonRule(PropagationRule):
    """`enodo.rules.lrp.epsilon`."""

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.STABILITY_FACTOR = epsilon
        self.treatment = lrp.epsilon(epsilon)


class GammaRule(PropagationRule):
    """Positive weights count 1 + gamma times, for activations that are not negative; see `enodo.rules.lrp.gamma`."""

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma, self.set_bias_to_zero = gamma, set_bias_to_zero

        def change(w: Tensor) -> Tensor:
            return w + gamma * w.clamp(min=0)

        self.treatment = lrp.reweighted(change, not set_bias_to_zero)


class Alpha1_Beta0_Rule(PropagationRule):
    """Positive weights alone, for activations that are not negative; see `enodo.rules.lrp.alpha_beta`."""

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero

        def change(w: Tensor) -> Tensor:
            return w.clamp(min=0)

        self.treatment = lrp.reweighted(change, not set_bias_to_zero)


class IdentityRule(EpsilonRule):
    """`enodo.rules.lrp.identity`: what goes in has the relevance of what comes out, entry by entry."""

    def __init__(self, epsilon: float = 1e-9) -> None:
        super().__init__(epsilon)
        self.treatment = lrp.identity


def rules_of(model: Any) -> dict[torch.nn.Module, Any]:
    """The rules that are set on the modules of a model."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    set_on = {m: getattr(m, "rule", None) for m in modules}
    return {m: rule.treatment for m, rule in set_on.items() if isinstance(rule, PropagationRule)}
