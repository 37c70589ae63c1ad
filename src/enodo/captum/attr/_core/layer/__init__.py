"""Attribution to the values of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enodo.captum.attr._utils.attribution import GradientAttribution, LayerAttribution, Multiplying, answer


class LayerActivation(LayerAttribution):
    """Method `activation`."""

    def attribute(
        self, inputs: Any, additional_forward_args: Any = None, attribute_to_layer_input: bool = False
    ) -> Any:
        return self._values(
            self._explain(
                "activation",
                inputs,
                additional_forward_args=additional_forward_args,
                wrt=self._at(attribute_to_layer_input),
            )
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class LayerGradientXActivation(Multiplying, LayerAttribution, GradientAttribution):
    """Method `gradient_x_activation`, or `gradient` without the product; both free memory as they go."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: Any,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._values(
            self._explain(
                "gradient_x_activation" if self.multiplies_by_inputs else "gradient",
                inputs,
                target=target,
                additional_forward_args=additional_forward_args,
                grad_kwargs=grad_kwargs,
                wrt=self._at(attribute_to_layer_input),
            )
        )


class LayerIntegratedGradients(Multiplying, LayerAttribution, GradientAttribution):
    """Method `integrated_gradients` with the path in the values of the layer."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = self._explain(
            "integrated_gradients",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            grad_kwargs=grad_kwargs,
            wrt=self._at(attribute_to_layer_input),
            steps=n_steps,
            quadrature=method,
            multiply=self.multiplies_by_inputs,
        )
        return answer(found, self._values(found), return_convergence_delta)

    def has_convergence_delta(self) -> bool:
        return True


class LayerConductance(LayerAttribution, GradientAttribution):
    """Method `conductance`."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = self._explain(
            "conductance",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            grad_kwargs=grad_kwargs,
            wrt=self._at(attribute_to_layer_input),
            steps=n_steps,
            quadrature=method,
            one_sided=True,
        )
        return answer(found, self._values(found), return_convergence_delta)

    def has_convergence_delta(self) -> bool:
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalInfluence(LayerAttribution, GradientAttribution):
    """Method `internal_influence`."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = self._explain(
            "internal_influence",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            grad_kwargs=grad_kwargs,
            wrt=self._at(attribute_to_layer_input),
            steps=n_steps,
            quadrature=method,
        )
        return self._values(found)


class LayerGradientShap(Multiplying, LayerAttribution, GradientAttribution):
    """Method `gradient_shap` with the path in the values of the layer."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        found = self._explain(
            "gradient_shap",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            seeded=True,
            wrt=self._at(attribute_to_layer_input),
            samples=n_samples,
            noise=stdevs,
            sample_deltas=return_convergence_delta,
            multiply=self.multiplies_by_inputs,
        )
        return answer(found, self._values(found), return_convergence_delta)

    def has_convergence_delta(self) -> bool:
        return True
