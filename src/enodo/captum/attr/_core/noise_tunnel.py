"""Smoothing of any method of this door."""

from __future__ import annotations

import copy
from typing import Any

from enodo.captum.attr._utils.attribution import Attribution, Smoothing
from enodo.core.errors import refuse

TYPES = ("smoothgrad", "smoothgrad_sq", "vargrad")


class NoiseTunnel(Attribution):
    """`attribution_method` at noisy copies of the inputs, averaged: methods `smoothgrad`, `smoothgrad_sq`, `vargrad`.

    `stdevs` is the standard deviation of the noise, in the units of the inputs, one for all or one a tensor;
    `nt_samples_batch_size` the samples of one pass; further arguments go to the method's own `attribute`.
    """

    def __init__(self, attribution_method: Attribution) -> None:
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method
        self.is_delta_supported = attribution_method.has_convergence_delta()

    @property
    def multiplies_by_inputs(self) -> bool:
        return self.attribution_method.multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        return self.is_delta_supported

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        if nt_type not in TYPES:
            refuse("nt_type", repr(nt_type), f"one of {', '.join(map(repr, TYPES))}")
        if nt_samples_batch_size is not None and not (type(nt_samples_batch_size) is int and nt_samples_batch_size > 0):
            refuse("nt_samples_batch_size", nt_samples_batch_size, "a whole number of samples from 1, or None")
        inner = copy.copy(self.attribution_method)
        inner._smoothing = Smoothing(
            method=nt_type,
            samples_a_pass=nt_samples_batch_size,
            options={
                "samples": nt_samples,
                "noise": stdevs,
                "relative": False,
                "draw_baseline": draw_baseline_from_distrib,
                "sample_deltas": kwargs.get("return_convergence_delta", False),
            },
        )
        inner._names = {"samples": "nt_samples"}
        values: Any = inner.attribute(inputs, **kwargs)  # type: ignore[attr-defined]
        if not inner._smoothing.met:
            given = f"a {type(inner).__name__}, whose attribute() asks no method of this library"
            refuse("attribution_method", given, "one whose attribute() is that of a class of enodo.captum.attr")
        return values
