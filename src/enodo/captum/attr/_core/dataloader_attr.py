"""Attribution of a metric of a whole data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enodo import explain_dataset
from enodo.captum.attr._core.ablation import FeatureAblation, _bare
from enodo.captum.attr._utils.attribution import Attribution
from enodo.core.errors import BadType, refuse


class DataLoaderAttribution(Attribution):
    """`enodo.explain_dataset` by the method of an instance."""

    def __init__(self, attr_method: Attribution) -> None:
        if type(attr_method) is not FeatureAblation:
            refuse("attr_method", attr_method, "an instance of FeatureAblation", kind=BadType)
        super().__init__(attr_method.forward_func)
        self.attr_method = attr_method

    def attribute(
        self,
        dataloader: Any,
        input_roles: tuple[int, ...] | None = None,
        baselines: Any = None,
        feature_mask: Any = None,
        reduce: Callable[..., Any] | None = None,
        to_metric: Callable[..., Any] | None = None,
        perturbations_per_pass: int = 1,
        show_progress: bool = False,
        return_input_shape: bool = True,
    ) -> Any:
        """`input_roles`: 0 explained, 1 given to the model as it is, 2 not given to it."""
        found = explain_dataset(
            self.forward_func,
            dataloader,
            features=_bare(feature_mask),
            baseline=0 if baselines is None else _bare(baselines),
            roles=input_roles,
            reduce=reduce,
            metric=to_metric,
            at_once=perturbations_per_pass,
            progress=show_progress,
        )
        several = isinstance(found.values, tuple)
        values = found.values if several else (found.values,)
        rows = [t.ndim for t in _explained(dataloader, input_roles)]
        flat = tuple(t.reshape(-1, *t.shape[t.ndim - r + 1 :]) for t, r in zip(values, rows, strict=True))
        if not return_input_shape:
            return _by_feature(flat, feature_mask)
        return flat if several else flat[0]

    def attribute_future(self) -> Any:
        raise NotImplementedError("attribute_future is not implemented for DataLoaderAttribution")


def _explained(dataloader: Any, roles: tuple[int, ...] | None) -> list[Tensor]:
    """The entries of a batch that are explained."""
    first = next(iter(dataloader))
    batch = list(first) if isinstance(first, (tuple, list)) else [first]
    return [t for t, role in zip(batch, roles or (0,) * len(batch), strict=True) if role == 0]


def _by_feature(values: tuple[Tensor, ...], mask: Any) -> Tensor:
    """(outputs, features): what each number of the mask gets; 0 for numbers that it does not have."""
    whole = torch.cat([t.flatten(1) for t in values], 1)
    if mask is None:
        return whole
    masks = mask if isinstance(mask, tuple) else (mask,)
    pairs = zip(masks, values, strict=True)
    numbers = torch.cat([m.expand(1, *t.shape[1:]).flatten() for m, t in pairs])
    if int(numbers.min()) < 0:
        refuse("feature_mask", mask, "numbers from 0, by which a result without the inputs' shape is laid out")
    found = whole.new_zeros(len(whole), int(numbers.max()) + 1)
    found[:, numbers] = whole
    return found
