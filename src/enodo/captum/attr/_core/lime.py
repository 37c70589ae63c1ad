"""Surrogate models: LIME as a framework of functions, and as an attribution.

Functions of the user's keep Captum's contracts: they are called for one sample of one row at a time, with the keyword
arguments of `attribute` (for `Lime`: `feature_mask`, `baselines`, `num_interp_features`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import enodo
from enodo.captum._utils.models.linear_model.model import SkLearnLasso
from enodo.captum.attr._core.shapley_value import Sampled
from enodo.captum.attr._utils.attribution import PerturbationAttribution
from enodo.captum.attr._utils.perturbation import limit, places, whole
from enodo.captum.attr._utils.surrogates import (
    Names,
    Regressor,
    default_from_interp_rep_transform,
    default_perturb_func,
    draws,
    for_each,
    get_exp_kernel_similarity_function,
    number,
)
from enodo.core.errors import refuse, warn
from enodo.core.question import Question
from enodo.core.values import Values


class LimeBase(PerturbationAttribution):
    """A model fitted to samples around an input, all of its parts given; `attribute` returns its representation.

    `perturb_func` draws a sample (or is a generator of them), in the interpretable space or in that of the inputs, and
    one of the two transforms leads to the other space; `similarity_func` weighs it.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        interpretable_model: Any,
        similarity_func: Callable[..., Any],
        perturb_func: Callable[..., Any],
        perturb_interpretable_space: bool,
        from_interp_rep_transform: Callable[..., Any] | None,
        to_interp_rep_transform: Callable[..., Any] | None,
    ) -> None:
        super().__init__(forward_func)
        self.interpretable_model = interpretable_model
        self.similarity_func = similarity_func
        self.perturb_func = perturb_func
        self.perturb_interpretable_space = perturb_interpretable_space
        self.from_interp_rep_transform = from_interp_rep_transform
        self.to_interp_rep_transform = to_interp_rep_transform
        name = "from_interp_rep_transform" if perturb_interpretable_space else "to_interp_rep_transform"
        if getattr(self, name) is None:
            where = "the interpretable space" if perturb_interpretable_space else "the space of the inputs"
            refuse(name, "None", f"a function, where samples are drawn in {where}")

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        n_samples: int = 50,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        with torch.no_grad():
            codes, points, weights = [], [], []
            for code, point in self._samples(inputs, n_samples, kwargs):
                codes.append(code)
                points.append(point if isinstance(point, tuple) else (point,))
                weights.append(number(self.similarity_func(inputs, point, code, **kwargs)))
            batches = tuple(torch.stack(parts) for parts in zip(*points, strict=True))
            scores = self._scores(batches, target, additional_forward_args, perturbations_per_eval, show_progress)
            data = TensorDataset(torch.cat(codes).float(), scores.float(), torch.stack(weights).float())
            self.interpretable_model.fit(DataLoader(data, batch_size=len(codes)))
            return self.interpretable_model.representation()

    def _samples(self, inputs: Any, n_samples: int, kwargs: dict[str, Any]) -> Iterator[tuple[Tensor, Any]]:
        """(interpretable sample, the same as inputs), n_samples times."""
        drawn = draws(self.perturb_func, inputs, kwargs)
        for made in range(n_samples):
            try:
                sample = next(drawn)
            except StopIteration:
                warn(f"perturb_func ended after {made} of {n_samples} samples.")
                return
            if self.perturb_interpretable_space and self.from_interp_rep_transform is not None:
                yield sample, self.from_interp_rep_transform(sample, inputs, **kwargs)
            elif self.to_interp_rep_transform is not None:
                yield self.to_interp_rep_transform(sample, inputs, **kwargs), sample

    def _scores(self, batches: tuple[Tensor, ...], target: Any, more: Any, together: int, progress: bool) -> Tensor:
        """One score for each batch of samples (k, B, ...)."""
        extra = () if more is None else more if isinstance(more, tuple) else (more,)
        if batches[0].shape[1] > 1:  # a score of the whole batch
            return whole(self.forward_func, target, extra, None)(*batches).reshape(-1)
        extra = tuple(for_each(t, len(batches[0])) for t in extra)
        rows = tuple(t[:, 0] for t in batches)
        if isinstance(target, (list, Tensor)) and len(target) == 1:
            target = target[0]
        found = enodo.explain(
            self.forward_func, rows, _look, target=target, args=extra, progress=progress,
            batch_size="auto" if together == 1 else together, wrt=[enodo.INPUT[i] for i in range(len(rows))],
        )  # fmt: skip
        if found.scores is None:
            refuse("forward_func", self.forward_func, "a callable that returns scores")
        return found.scores

    def attribute_future(self) -> Any:
        raise NotImplementedError("LimeBase does not support attribution of future samples.")

    @property
    def multiplies_by_inputs(self) -> bool:
        return False


class Lime(Sampled, LimeBase):
    """Method `lime`: coalitions by the toss of a coin, weighted by the likeness of inputs, and a lasso."""

    _names = {"max_evaluations": "n_samples", "coalitions": "perturb_func", "similarity": "similarity_func"}  # noqa: RUF012

    def __init__(
        self,
        forward_func: Callable[..., Any],
        interpretable_model: Any = None,
        similarity_func: Callable[..., Any] | None = None,
        perturb_func: Callable[..., Any] | None = None,
    ) -> None:
        LimeBase.__init__(
            self,
            forward_func,
            SkLearnLasso(alpha=0.01) if interpretable_model is None else interpretable_model,
            similarity_func or get_exp_kernel_similarity_function(),
            perturb_func or default_perturb_func,
            True,
            default_from_interp_rep_transform,
            None,
        )
        self._own_lasso = interpretable_model is None

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
        names = Names(inputs, feature_mask)
        kwargs = {"feature_mask": names.mask, "baselines": names.like(baselines), "num_interp_features": names.count}
        fitted = {} if self._own_lasso else {"regressor": Regressor(self.interpretable_model)}
        return self._surrogate(
            "lime",
            inputs,
            names,
            return_input_shape,
            perturbations_per_eval,
            show_progress,
            baselines=baselines,
            target=target,
            additional_forward_args=additional_forward_args,
            features=feature_mask,
            coalitions=names.drawn(self.perturb_func, n_samples, kwargs),
            similarity=names.compared(self.similarity_func, kwargs),
            **fitted,
        )

    def _surrogate(
        self, method: str, inputs: Any, names: Names, spread: bool, together: int, progress: bool, **question: Any
    ) -> Any:
        """Attributions shaped like the inputs, or one number a feature."""
        if spread:
            question |= {"perturbations_per_eval": together, "show_progress": progress}
            return self._perturbed(method, inputs, **question)
        question |= {"internal_batch_size": limit(inputs, together), "wrt": places(inputs), "seeded": True}
        question |= {"progress": True} if progress else {}
        found = self._explain(method, inputs, **question)
        return names.every(found.details["features"])

    def attribute_future(self) -> Any:
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")


def _look(question: Question) -> Values:
    return question.x
