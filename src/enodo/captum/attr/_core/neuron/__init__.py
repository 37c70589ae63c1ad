"""Attribution of a neuron's value to the inputs of a model."""

from __future__ import annotations

from typing import Any

from enodo.captum.attr._utils.attribution import GradientAttribution, Multiplying, NeuronAttribution


class NeuronGradient(NeuronAttribution, GradientAttribution):
    """Method `gradient` of a neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        return self._explain(
            "gradient",
            inputs,
            additional_forward_args=additional_forward_args,
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values


class NeuronIntegratedGradients(Multiplying, NeuronAttribution, GradientAttribution):
    """Method `integrated_gradients` of a neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        return self._explain(
            "integrated_gradients",
            inputs,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            steps=n_steps,
            quadrature=method,
            multiply=self.multiplies_by_inputs,
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values


class NeuronConductance(Multiplying, NeuronAttribution, GradientAttribution):
    """Method `neuron_conductance`: what flows from each input through the neuron to the target."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        through = self._of(neuron_selector, attribute_to_neuron_input)
        return self._explain(
            "neuron_conductance",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            grad_kwargs=grad_kwargs,
            through=through["of"],
            neuron=through["target"],
            steps=n_steps,
            quadrature=method,
            multiply=self.multiplies_by_inputs,
        ).values


class NeuronGradientShap(Multiplying, NeuronAttribution, GradientAttribution):
    """Method `gradient_shap` of a neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: float = 0.0,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        return self._explain(
            "gradient_shap",
            inputs,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            seeded=True,
            samples=n_samples,
            noise=stdevs,
            multiply=self.multiplies_by_inputs,
            **self._of(neuron_selector, attribute_to_neuron_input),
        ).values
