"""DeepLIFT with one baseline, and with many.

`custom_attribution_func(multipliers[, inputs[, baselines]])`, of tuples of tensors, takes the place of the product with
the difference from the baseline. `eps` is accepted: what is near a baseline is told by the dtype.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from enodo.captum.attr._utils.attribution import GradientAttribution, LayerAttribution, NeuronAttribution, answer


class DeepLift(GradientAttribution):
    """Method `deeplift`."""

    def __init__(self, model: Any, multiply_by_inputs: bool = True, eps: float = 1e-10) -> None:
        super().__init__(model)
        self.model = model
        self.eps = eps
        self._multiply_by_inputs = multiply_by_inputs

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
    ) -> Any:
        found = self._explain(
            "deeplift",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
        )
        return answer(found, found.values, return_convergence_delta)

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs

    def has_convergence_delta(self) -> bool:
        return True


class LayerDeepLift(LayerAttribution, DeepLift):
    """Method `deeplift` to the values of a layer."""

    def __init__(self, model: Any, layer: Any, multiply_by_inputs: bool = True) -> None:
        LayerAttribution.__init__(self, model, layer)
        DeepLift.__init__(self, model, multiply_by_inputs)

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = self._explain(
            "deeplift",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            grad_kwargs=grad_kwargs,
            wrt=self._at(attribute_to_layer_input),
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
        )
        return answer(found, self._values(found), return_convergence_delta)


class NeuronDeepLift(NeuronAttribution, GradientAttribution):
    """Method `deeplift` of a neuron."""

    def __init__(self, model: Any, layer: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, layer)
        self._multiply_by_inputs = multiply_by_inputs

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
    ) -> Any:
        return self._explain(
            "deeplift",
            inputs,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs


class DeepLiftShap(DeepLift):
    """Method `deeplift_shap`; the rows of `baselines` are the background."""

    def __init__(self, model: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs)

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
    ) -> Any:
        found = self._explain(
            "deeplift_shap",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
            sample_deltas=return_convergence_delta,
        )
        return answer(found, found.values, return_convergence_delta)


class LayerDeepLiftShap(LayerDeepLift, DeepLiftShap):
    """Method `deeplift_shap` to the values of a layer."""

    def __init__(self, model: Any, layer: Any, multiply_by_inputs: bool = True) -> None:
        LayerDeepLift.__init__(self, model, layer, multiply_by_inputs)

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
    ) -> Any:
        found = self._explain(
            "deeplift_shap",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            wrt=self._at(attribute_to_layer_input),
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
            sample_deltas=return_convergence_delta,
        )
        return answer(found, self._values(found), return_convergence_delta)


class NeuronDeepLiftShap(NeuronDeepLift):
    """Method `deeplift_shap` of a neuron."""

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Callable[..., Any] | None = None,
    ) -> Any:
        return self._explain(
            "deeplift_shap",
            inputs,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            multiply=self.multiplies_by_inputs,
            combine=_combining(custom_attribution_func),
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values


def _combining(custom: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """The function with as many of (multipliers, inputs, baselines) as it takes."""
    if custom is None:
        return None
    count = len(inspect.signature(custom).parameters)
    return lambda *parts: custom(*parts[:count])
