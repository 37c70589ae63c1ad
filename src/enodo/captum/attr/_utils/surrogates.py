"""What LIME is made of under Captum's names: features by number, likeness of inputs, samples, models to fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import enodo
from enodo.core.errors import refuse


class Names:
    """The features as Captum numbers them: from the smallest number of the mask to its largest, gaps counted."""

    def __init__(self, inputs: Any, mask: Any) -> None:
        self.several = isinstance(inputs, tuple)
        tensors = inputs if self.several else (inputs,)
        if mask is None or isinstance(mask, enodo.Features):
            sizes = [t[0].numel() for t in tensors]
            numbers = torch.arange(sum(sizes)).split(sizes)
            masks = tuple(n.view(1, *t.shape[1:]) for n, t in zip(numbers, tensors, strict=True))
        else:
            masks = mask if isinstance(mask, tuple) else (mask,)
        flat = torch.cat([torch.as_tensor(m).flatten() for m in masks])
        known = flat.unique()
        first, last = (int(known[0]), int(known[-1])) if len(known) else (0, -1)
        self.mask: Any = tuple(torch.as_tensor(m) - first for m in masks)
        self.mask = self.mask if self.several else self.mask[0]
        self.known = known - first  # the numbers that there are
        self.count = last + 1 - first

    def like(self, baselines: Any) -> Any:
        """Baselines in the structure of the inputs, numbers for none."""
        if self.several:
            return (
                tuple(0 if b is None else b for b in baselines)
                if isinstance(baselines, tuple)
                else (0,) * len(self.mask)
            )
        return 0 if baselines is None else baselines

    def every(self, slopes: Tensor) -> Tensor:
        """(B, n) of the features that there are, as (B, count)."""
        if slopes.shape[-1] != len(self.known):
            return slopes
        found = slopes.new_zeros(*slopes.shape[:-1], self.count)
        found[..., self.known.to(found.device)] = slopes
        return found

    def drawn(self, perturb: Callable[..., Any], n_samples: int, kwargs: dict[str, Any]) -> Callable[..., Tensor]:
        """`coalitions` of the method `lime`, from a `perturb_func`."""

        def coalitions(value: Any, n: int) -> Tensor:
            if perturb is default_perturb_func:
                return torch.bernoulli(torch.full((n_samples, n), 0.5))
            found = [sample for sample, _ in zip(draws(perturb, value, kwargs), range(n_samples), strict=False)]
            z = torch.cat(found).cpu()
            return z[:, self.known] if z.shape[1] == self.count and n == len(self.known) else z

        return coalitions

    def compared(self, similarity: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[..., Tensor]:
        """`similarity` of the method `lime`, from a `similarity_func`."""
        if isinstance(similarity, ExponentialKernel):
            return lambda value, near, z: similarity.many(value, near)

        def weights(value: Any, near: Any, z: Tensor) -> Tensor:
            code = torch.ones(len(z), self.count, dtype=torch.long)
            code[:, self.known if z.shape[1] == len(self.known) else slice(z.shape[1])] = z.long().cpu()
            found = []
            for i in range(len(z)):
                point = tuple(t[i : i + 1] for t in near) if isinstance(near, tuple) else near[i : i + 1]
                found.append(number(similarity(value, point, code[i : i + 1].to(z.device), **kwargs)))
            return torch.stack(found)

        return weights


class Regressor:
    """A `Model` as an object with scikit-learn's interface; it stays the one that was given, fitted last."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: Any) -> Regressor:
        return self

    def fit(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Train the model on all samples at once."""
        data = TensorDataset(*(torch.as_tensor(t).float() for t in (x, y, sample_weight)))
        self.model.fit(DataLoader(data, batch_size=len(x)))

    @property
    def coef_(self) -> Tensor:
        """Its representation."""
        found: Tensor = self.model.representation()
        return found

    @property
    def intercept_(self) -> Any:
        """Its bias, where it has one."""
        bias = self.model.bias() if callable(getattr(self.model, "bias", None)) else None
        return 0.0 if bias is None else bias


class ExponentialKernel:
    """exp(-d^2 / (2 width^2)) of the distance between an input and a neighbour, all their tensors as one vector."""

    def __init__(self, distance_mode: str, kernel_width: float) -> None:
        if distance_mode not in ("cosine", "euclidean"):
            refuse("distance_mode", repr(distance_mode), '"cosine" or "euclidean"')
        self.distance_mode, self.kernel_width = distance_mode, kernel_width

    def __call__(self, original_inp: Any, perturbed_inp: Any, __: Any = None, **kwargs: Any) -> float:
        near = perturbed_inp if isinstance(perturbed_inp, tuple) else (perturbed_inp,)
        return float(self.many(original_inp, tuple(t.reshape(1, *t.shape) for t in near)))

    def many(self, value: Any, near: Any) -> Tensor:
        """(k,) for k neighbours."""
        x = torch.cat([t.flatten().float() for t in (value if isinstance(value, tuple) else (value,))])
        some = torch.cat([t.flatten(1).float() for t in (near if isinstance(near, tuple) else (near,))], 1)
        apart = {"cosine": lambda: 1 - F.cosine_similarity(x[None], some), "euclidean": lambda: (some - x).norm(dim=1)}
        distance = apart[self.distance_mode]()
        return torch.exp(-distance.square() / (2 * self.kernel_width**2))


def get_exp_kernel_similarity_function(distance_mode: str = "cosine", kernel_width: float = 1.0) -> Callable[..., Any]:
    """A `similarity_func` that falls off with the distance; see `ExponentialKernel`."""
    return ExponentialKernel(distance_mode, kernel_width)


def default_perturb_func(original_inp: Any, **kwargs: Any) -> Tensor:
    """Each feature there or not by the toss of a coin, (1, num_interp_features)."""
    if "num_interp_features" not in kwargs:
        refuse("num_interp_features", "nothing", "the number of interpretable features, as a keyword argument")
    first = original_inp[0] if isinstance(original_inp, tuple) else original_inp
    return torch.bernoulli(torch.full((1, kwargs["num_interp_features"]), 0.5)).to(first.device).long()


def default_from_interp_rep_transform(curr_sample: Tensor, original_inputs: Any, **kwargs: Any) -> Any:
    """The inputs with the features that a sample (1, n) lacks at their `baselines`; features by `feature_mask`."""
    for name in ("feature_mask", "baselines"):
        if name not in kwargs:
            refuse(name, "nothing", "that of the features, as a keyword argument")
    if not isinstance(original_inputs, tuple):
        keep = curr_sample[0][kwargs["feature_mask"]].bool()
        return torch.where(keep, original_inputs, torch.as_tensor(kwargs["baselines"]).to(original_inputs))
    sides = zip(original_inputs, kwargs["feature_mask"], kwargs["baselines"], strict=True)
    one = default_from_interp_rep_transform
    return tuple(one(curr_sample, x, feature_mask=m, baselines=b) for x, m, b in sides)


def draws(perturb: Callable[..., Any], inputs: Any, kwargs: dict[str, Any]) -> Iterator[Any]:
    """Samples of a `perturb_func`, which is a function or a generator function."""
    if inspect.isgeneratorfunction(perturb):
        yield from perturb(inputs, **kwargs)
        return
    while True:
        yield perturb(inputs, **kwargs)


def number(weight: Any) -> Tensor:
    """A weight, whatever it came as."""
    return torch.as_tensor(weight, dtype=torch.float64).reshape(())


def for_each(t: Any, k: int) -> Any:
    """What has one row, with k."""
    return t.expand(k, *t.shape[1:]) if isinstance(t, Tensor) and t.ndim and len(t) == 1 else t
