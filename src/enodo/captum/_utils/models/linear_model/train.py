"""Ways to train a linear model."""

from __future__ import annotations

import operator
import time
import warnings
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from enodo.core.errors import refuse
from enodo.methods.surrogate.descent import Settled, descend


def l2_loss(x1: Tensor, x2: Tensor, weights: Tensor | None = None) -> Tensor:
    """Half of the mean squared difference, weighted where there are weights."""
    squares = (x1 - x2).square()
    if weights is None:
        return squares.mean() / 2.0
    return (weights / weights.norm(p=1) * squares).sum() / 2.0


def sgd_train_linear_model(
    model: Any,
    dataloader: DataLoader,
    construct_kwargs: dict[str, Any],
    max_epoch: int = 100,
    reduce_lr: bool = True,
    initial_lr: float = 0.01,
    alpha: float = 1.0,
    loss_fn: Callable[..., Tensor] = l2_loss,
    reg_term: int | None = 1,
    patience: int = 10,
    threshold: float = 1e-4,
    running_loss_window: int | None = None,
    device: str | None = None,
    init_scheme: str = "zeros",
    debug: bool = False,
) -> dict[str, float]:
    """By gradient descent on batches (x, y[, weights]): the loss, and `alpha` times the `reg_term`-norm of the weights.

    It ends when the mean loss of the last `running_loss_window` steps (None: as many as there are samples) has not
    fallen by `threshold` for `patience` steps, or after `max_epoch` rounds.
    """
    if init_scheme not in (None, "zeros", "xavier"):
        refuse("init_scheme", repr(init_scheme), '"zeros", "xavier" or None')

    def batches() -> Any:
        for batch in dataloader:
            x, y, w = batch if len(batch) == 3 else (*batch, None)
            yield tuple(t if t is None or device is None else t.to(device) for t in (x, y, w))

    x, y, _ = next(iter(batches()))
    model._construct_model_params(
        in_features=x.shape[1], out_features=y.shape[1] if y.ndim == 2 else 1, **construct_kwargs
    )
    with torch.no_grad():
        if init_scheme is not None:
            start = nn.init.xavier_uniform_ if init_scheme == "xavier" else nn.init.zeros_
            start(model.linear.weight)
            if model.linear.bias is not None:
                model.linear.bias.zero_()

    def loss(y: Tensor, found: Tensor, w: Tensor | None) -> Tensor:
        value = loss_fn(y, found, w)
        return value if reg_term is None else value + alpha * torch.norm(model.linear.weight, p=reg_term)

    window = x.shape[0] * len(dataloader) if running_loss_window is None else running_loss_window
    settled = Settled(patience, threshold, window)
    tell = print if debug else None
    return descend(model, batches, loss, settled, rounds=max_epoch, rate=initial_lr, falling=reduce_lr, tell=tell)


class NormLayer(nn.Module):
    """(x - mean) / (std + eps)."""

    def __init__(self, mean: Tensor, std: Tensor, n: int | None = None, eps: float = 1e-8) -> None:
        super().__init__()
        self.mean, self.std, self.eps = mean, std, eps

    def forward(self, x: Tensor) -> Tensor:
        """The normalised values."""
        return (x - self.mean) / (self.std + self.eps)


def sklearn_train_linear_model(
    model: Any,
    dataloader: DataLoader,
    construct_kwargs: dict[str, Any],
    sklearn_trainer: str = "Lasso",
    norm_input: bool = False,
    **fit_kwargs: Any,
) -> dict[str, float]:
    """By scikit-learn's class `sklearn_trainer`, made with `construct_kwargs`, on all batches together."""
    try:
        import sklearn.linear_model
        import sklearn.svm
    except ImportError:
        raise ImportError("this model is trained by scikit-learn: pip install scikit-learn") from None
    columns = [torch.cat(parts).cpu() for parts in zip(*dataloader, strict=True)]
    x, y = columns[0], columns[1].numpy()
    mean, std = x.mean(0), x.std(0, correction=0)
    x = (x - mean) / std if norm_input else x
    started = time.perf_counter()
    made = reduce(lambda place, name: operator.attrgetter(name)(place), sklearn_trainer.split("."), sklearn)
    trainer: Any = made(**construct_kwargs)
    try:
        trainer.fit(x.numpy(), y, sample_weight=columns[2].numpy() if len(columns) > 2 else None, **fit_kwargs)
    except TypeError:
        trainer.fit(x.numpy(), y, **fit_kwargs)
        warnings.warn(f"sklearn.{sklearn_trainer} takes no sample weights: trained without them.", stacklevel=2)
    seconds = time.perf_counter() - started
    weights = torch.as_tensor(trainer.coef_).float()
    classes = torch.as_tensor(trainer.classes_).int() if hasattr(trainer, "classes_") else None
    model._construct_model_params(
        weight_values=weights.reshape(len(weights) if weights.ndim > 1 else 1, -1),
        bias_value=torch.as_tensor(trainer.intercept_).float().reshape(-1),
        classes=classes,
    )
    if norm_input:
        model.norm = NormLayer(mean, std)
    return {"train_time": seconds}
