"""Relevance propagation under Captum's names."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from enodo.captum.attr._utils.attribution import GradientAttribution, LayerAttribution
from enodo.captum.attr._utils.lrp_rules import rules_of
from enodo.rules import Composite
from enodo.rules.lrp import epsilon

_EVERYWHERE = Composite(epsilon(), epsilon(), merge=False)


def _lost(found: Any) -> Any:
    """The score less the sum of relevance, (B,)."""
    return -found.delta


class LRP(GradientAttribution):
    """Method `lrp` with the rules set on modules (`_utils.lrp_rules`), and epsilon elsewhere, also for batch norms.

    `verbose` is accepted.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model = model

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        found = self._explain(
            "lrp",
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            rules=rules_of(self.model),
            composite=_EVERYWHERE,
        )
        return (found.values, _lost(found)) if return_convergence_delta else found.values

    def compute_convergence_delta(self, attributions: Any, output: Tensor) -> Tensor:  # type: ignore[override]
        """(B,): the score less the sum of relevance."""
        parts = attributions if isinstance(attributions, tuple) else (attributions,)
        return output - torch.stack([part.reshape(len(output), -1).sum(1) for part in parts]).sum(0)

    @classmethod
    def get_name(cls: type[LRP]) -> str:
        return " ".join(re.findall("[A-Z][^A-Z]*", cls.__name__))

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def has_convergence_delta(self) -> bool:
        return True


class LayerLRP(LayerAttribution, LRP):
    """Method `lrp` to the values of a layer, or of each layer of a list."""

    def __init__(self, model: Any, layer: Any) -> None:
        LayerAttribution.__init__(self, model, layer)
        self.model = model

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Any:
        if isinstance(self.layer, (list, tuple)):
            each = [LayerLRP(self.model, layer) for layer in self.layer]
            question = (inputs, target, additional_forward_args, True, attribute_to_layer_input)
            found = [one.attribute(*question) for one in each]
            values, deltas = [v for v, _ in found], [d for _, d in found]
            return (values, deltas) if return_convergence_delta else values
        answer = self._explain(
            "lrp",
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            wrt=self._at(attribute_to_layer_input),
            rules=rules_of(self.model),
            composite=_EVERYWHERE,
        )
        values = self._values(answer)
        return (values, _lost(answer)) if return_convergence_delta else values
