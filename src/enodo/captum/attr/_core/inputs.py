"""Attribution to the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enodo.captum.attr._utils.attribution import GradientAttribution, answer


class Saliency(GradientAttribution):
    """The gradient, by default its absolute value: method `gradient`."""

    def attribute(self, inputs: Any, target: Any = None, abs: bool = True, additional_forward_args: Any = None) -> Any:
        return self._explain(
            "gradient", inputs, target=target, additional_forward_args=additional_forward_args, absolute=abs
        ).values


class InputXGradient(GradientAttribution):
    """Method `input_x_gradient`."""

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        return self._explain(
            "input_x_gradient", inputs, target=target, additional_forward_args=additional_forward_args
        ).values

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class _Multiplying(GradientAttribution):
    """A method at the inputs with the choice of `multiply_by_inputs`."""

    def __init__(self, forward_func: Callable[..., Any], multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs

    def has_convergence_delta(self) -> bool:
        return True


class IntegratedGradients(_Multiplying):
    """Method `integrated_gradients`."""

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
    ) -> Any:
        found = self._explain(
            "integrated_gradients",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            internal_batch_size=internal_batch_size,
            steps=n_steps,
            quadrature=method,
            multiply=self.multiplies_by_inputs,
        )
        return answer(found, found.values, return_convergence_delta)


class GradientShap(_Multiplying):
    """Method `gradient_shap`; the rows of `baselines` are a background to draw from."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        found = self._explain(
            "gradient_shap",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            seeded=True,
            samples=n_samples,
            noise=stdevs,
            sample_deltas=return_convergence_delta,
            multiply=self.multiplies_by_inputs,
        )
        return answer(found, found.values, return_convergence_delta)
