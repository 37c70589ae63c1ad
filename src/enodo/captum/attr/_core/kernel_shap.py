"""KernelSHAP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enodo.captum._utils.models.linear_model.model import SkLearnLinearRegression
from enodo.captum.attr._core.lime import Lime
from enodo.captum.attr._utils.surrogates import Names


class KernelShap(Lime):
    """Method `kernel_shap`: `n_samples` coalitions; exact where that many are all there are."""

    _names = {"max_evaluations": "n_samples"}  # noqa: RUF012

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        super().__init__(forward_func, SkLearnLinearRegression())

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Any:
        return self._surrogate(
            "kernel_shap",
            inputs,
            Names(inputs, feature_mask),
            return_input_shape,
            perturbations_per_eval,
            show_progress,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            max_evaluations=n_samples,
        )
