"""Gradients through ReLUs under other laws, and class activation maps."""

from __future__ import annotations

from typing import Any

from enodo.captum.attr._utils.attribution import GradientAttribution, LayerAttribution, NeuronAttribution


class _Rectified(GradientAttribution):
    """The gradient under another law for ReLUs."""

    _method = ""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        return self._explain(
            self._method, inputs, target=target, additional_forward_args=additional_forward_args
        ).values


class GuidedBackprop(_Rectified):
    """Method `guided_backprop`."""

    _method = "guided_backprop"


class Deconvolution(_Rectified):
    """Method `deconvolution`."""

    _method = "deconvolution"


class _NeuronRectified(NeuronAttribution, GradientAttribution):
    """The gradient of a neuron under another law for ReLUs."""

    _method = ""

    def __init__(self, model: Any, layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(model, layer, device_ids)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        return self._explain(
            self._method,
            inputs,
            additional_forward_args=additional_forward_args,
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values


class NeuronGuidedBackprop(_NeuronRectified):
    """Method `guided_backprop` of a neuron."""

    _method = "guided_backprop"


class NeuronDeconvolution(_NeuronRectified):
    """Method `deconvolution` of a neuron."""

    _method = "deconvolution"


class LayerGradCam(LayerAttribution, GradientAttribution):
    """Method `grad_cam`, by default with its negative part; channels are in dimension 1."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._values(
            self._explain(
                "grad_cam",
                inputs,
                target=target,
                additional_forward_args=additional_forward_args,
                grad_kwargs=grad_kwargs,
                wrt=self._at(attribute_to_layer_input),
                channel=1,
                relu=relu_attributions,
                summed=attr_dim_summation,
            )
        )


class GuidedGradCam(GradientAttribution):
    """Method `guided_grad_cam`."""

    def __init__(self, model: Any, layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(model)
        self.model, self.layer, self.device_ids = model, layer, device_ids

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        return self._explain(
            "guided_grad_cam",
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            layer=LayerAttribution(self.model, self.layer)._at(attribute_to_layer_input),
            mode=interpolate_mode,
        ).values
