"""Shapley values, exact and sampled."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch

from enodo.captum.attr._utils.perturbation import Perturbing, in_future, promised
from enodo.core.targets import tensor_of

MOST = 2**30  # evaluations: as many as its users ask for


class Sampled(Perturbing):
    """A method that samples: `torch.manual_seed` governs it."""

    _every_output = False  # whether, without a target, every number of an output (B, ...) is explained

    def _perturbed(self, method: Any, inputs: Any, **question: Any) -> Any:
        if question.get("target") is not None or not self._every_output:
            return super()._perturbed(method, inputs, seeded=True, **question)
        shape: list[int] = []
        found = super()._perturbed(method, inputs, seeded=True, **question | {"target": _every(shape)})
        return _outputs_second(found, shape) if shape else found

    def _of_batch(self, method: Any, inputs: Any, **asked: Any) -> Any:
        if asked.pop("seeded", False):
            asked["seed"] = int(torch.randint(2**62, ()))
        asked["target"] = None if callable(asked["target"]) else asked["target"]
        return super()._of_batch(method, inputs, **asked)


def _every(shape: list[int]) -> Callable[[Any], Any]:
    """A target that takes every number of a row's output, and tells the shape that they have there."""

    def target(output: Any) -> Any:
        output = tensor_of(output)
        if output.ndim < 2:
            return output
        shape[:] = output.shape[1:]
        return output.flatten(1)

    return target


def _outputs_second(found: Any, shape: list[int]) -> Any:
    """Attributions (T, B, ...) as (B, *shape, ...)."""
    if isinstance(found, tuple):
        return tuple(_outputs_second(t, shape) for t in found)
    several = found if math.prod(shape) > 1 else found[None]
    return several.movedim(0, 1).unflatten(1, shape)


class ShapleyValueSampling(Sampled):
    """Method `shapley_sampling`: `n_samples` orders of the features, in pairs; exact where that costs no more."""

    _names = {"permutations": "n_samples"}  # noqa: RUF012
    _every_output = True

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        super().__init__(forward_func)

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        return self._perturbed(
            "shapley_sampling",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            permutations=n_samples,
            perturbations_per_eval=perturbations_per_eval,
            show_progress=show_progress,
        )

    def attribute_future(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """The answer as a Future, where `forward_func` returns Futures."""
        waiting = copy.copy(self)
        waiting.forward_func = promised(self.forward_func)
        given = {"inputs": inputs, "baselines": baselines, "target": target, "feature_mask": feature_mask}
        given |= {"perturbations_per_eval": perturbations_per_eval, "show_progress": show_progress}
        given |= {} if isinstance(self, ShapleyValues) else {"n_samples": n_samples}
        return in_future(lambda: waiting.attribute(additional_forward_args=additional_forward_args, **given))


class ShapleyValues(ShapleyValueSampling):
    """Method `exact_shapley`."""

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        return self._perturbed(
            "exact_shapley",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            max_evaluations=MOST,
            perturbations_per_eval=perturbations_per_eval,
            show_progress=show_progress,
        )
