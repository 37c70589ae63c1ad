"""Attribution by taking features away, or giving them the values of others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enodo import Absence, Features
from enodo.captum.attr._utils.attribution import InternalAttribution, LayerAttribution, NeuronAttribution
from enodo.captum.attr._utils.perturbation import Perturbing, in_future, limit, promised


class FeatureAblation(Perturbing):
    """Method `feature_ablation`."""

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        super().__init__(forward_func)

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        return self._perturbed(
            "feature_ablation",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            perturbations_per_eval=perturbations_per_eval,
            show_progress=show_progress,
            **kwargs,
        )

    def attribute_future(  # type: ignore[override]
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """What `attribute` returns, as a Future, of a `forward_func` that returns Futures."""
        waiting = copy.copy(self)
        waiting.forward_func = promised(self.forward_func)
        return in_future(
            lambda: FeatureAblation.attribute(
                waiting,
                inputs,
                baselines,
                target,
                additional_forward_args,
                feature_mask,
                perturbations_per_eval,
                show_progress,
                **kwargs,
            )
        )


class Occlusion(FeatureAblation):
    """Method `occlusion`; `sliding_window_shapes` and `strides` are those of `enodo.Features.windows`."""

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        return self._perturbed(
            "feature_ablation",
            inputs,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=Features.windows(sliding_window_shapes, strides),
            perturbations_per_eval=perturbations_per_eval,
            show_progress=show_progress,
        )

    def attribute_future(self) -> None:  # type: ignore[override]
        raise NotImplementedError("attribute_future is not implemented for Occlusion")


def _permute_feature(x: Tensor, feature_mask: Tensor) -> Tensor:
    """The batch with a feature's values dealt anew among the rows, any way but the one that changes nothing."""
    rows = torch.arange(len(x))
    order = rows
    while len(x) > 1 and bool((order == rows).all()):
        order = torch.randperm(len(x))
    return torch.where(feature_mask.to(x.device, torch.bool), x[order.to(x.device)], x)


class FeaturePermutation(FeatureAblation):
    """Method `feature_permutation`; a `perm_func` of your own gets the batch and where the feature lies (bool)."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        perm_func: Callable[[Tensor, Tensor], Tensor] = _permute_feature,
    ) -> None:
        super().__init__(forward_func)
        self.perm_func = perm_func

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        asked = {"target": target, "additional_forward_args": additional_forward_args, "features": feature_mask}
        if self.perm_func is not _permute_feature:
            return self._of_batch("feature_ablation", inputs, baselines=Absence.painted(self._painted), **asked)
        asked |= {"perturbations_per_eval": perturbations_per_eval, "show_progress": show_progress, "seeded": True}
        return self._perturbed("feature_permutation", inputs, **asked, **kwargs)

    def attribute_future(  # type: ignore[override]
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As `FeatureAblation.attribute_future`."""
        waiting = copy.copy(self)
        waiting.forward_func = promised(self.forward_func)
        more = (perturbations_per_eval, show_progress)
        return in_future(
            lambda: FeaturePermutation.attribute(
                waiting, inputs, target, additional_forward_args, feature_mask, *more, **kwargs
            )
        )

    def _of_batch(self, method: Any, inputs: Any, **asked: Any) -> Any:
        if method == "feature_permutation":
            method = "feature_ablation"
            asked["baselines"] = Absence.painted(self._painted)
        asked.pop("seeded", None)
        return super()._of_batch(method, inputs, **asked)

    def _painted(self, values: Any, absent: Any) -> Any:
        """Batches (k, B, ...), each of their inputs through `perm_func` where the feature lies in it."""
        pairs = list(zip(values, absent, strict=True)) if isinstance(values, tuple) else [(values, absent)]
        found = []
        for batches, masks in pairs:
            each = zip(batches, masks, strict=True)
            found.append(torch.stack([self.perm_func(x, m[:1]) if m.any() else x for x, m in each]))
        return tuple(found) if isinstance(values, tuple) else found[0]


class LayerFeatureAblation(LayerAttribution, Perturbing):
    """Method `feature_ablation` at a layer."""

    _names = {"features": "layer_mask", "baseline": "layer_baselines"}  # noqa: RUF012  read only

    def attribute(
        self,
        inputs: Any,
        layer_baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Any = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        given = _bare(layer_baselines)
        found = self._explain(
            "feature_ablation",
            inputs,
            baselines=None if given is None else given if isinstance(given, Absence) else Absence.at(given),
            target=target,
            additional_forward_args=additional_forward_args,
            features=_bare(layer_mask),
            internal_batch_size=limit(inputs, perturbations_per_eval),
            wrt=self._at(attribute_to_layer_input),
        )
        return self._values(found)

    @property
    def attributor(self) -> type[FeatureAblation]:
        """The class of the same method at the inputs."""
        return FeatureAblation


class LayerFeaturePermutation(LayerAttribution, FeaturePermutation):
    """Method `feature_permutation` at a layer."""

    def __init__(self, forward_func: Callable[..., Any], layer: Any, device_ids: list[int] | None = None) -> None:
        InternalAttribution.__init__(self, forward_func, layer, device_ids)
        self.perm_func = _permute_feature

    def attribute(  # type: ignore[override]
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Any = None,
        perturbations_per_eval: int = 1,
    ) -> Any:
        found = self._explain(
            "feature_permutation",
            inputs,
            target=target,
            additional_forward_args=additional_forward_args,
            features=_bare(layer_mask),
            internal_batch_size=limit(inputs, perturbations_per_eval),
            wrt=self._at(False),
            seeded=True,
        )
        return self._values(found)

    @property
    def attributor(self) -> type[FeaturePermutation]:
        """The class of the same method at the inputs."""
        return FeaturePermutation


class NeuronFeatureAblation(NeuronAttribution, Perturbing):
    """Method `feature_ablation` of a neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        return self._perturbed(
            "feature_ablation",
            inputs,
            baselines=baselines,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            perturbations_per_eval=perturbations_per_eval,
            **self._of(neuron_selector, attribute_to_neuron_input),
        )


def _bare(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value
