"""What a benchmark is: one piece of work, done by several sides, and what is promised of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[[], Any]  # does the work once and returns the attribution: a tensor or a list of tensors
CHUNK = 4  # rows a pass of the bare loop, as many as the library gives the networks measured


@dataclass
class Work:
    """The same work on every side.

    `sides` maps "enodo", "captum" and "floor" (the bare PyTorch loop: frozen parameters, chunks as large as the
    library's, the same nodes, nothing else) to functions that build a side, unmeasured, and return its call.
    """

    name: str
    about: str
    sides: dict[str, Callable[[], Call]]
    faster: float | None = None  # promised: Captum's seconds / ours, at least
    memory: float | None = None  # promised: our peak / Captum's, at most
    floor: float | None = None  # promised: our seconds / the bare loop's, at most
    agree: float | None = 1e-4  # relative L2 between the sides; None where the sides draw different random numbers
    exact: Call | None = None  # the same sum in float64, where float32 alone makes the sides differ
    rounds: int = 7
    threads: int | None = None  # torch's own choice without


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def bare_gradient(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
    return gradient


def bare_path(score: Callable[[Tensor], Tensor], x: Tensor, alphas: Tensor, weights: Tensor, chunk: int) -> Tensor:
    """Integrated gradients from zero of one row, `chunk` rows a pass."""
    lift = (-1, *[1] * (x.dim() - 1))
    total = torch.zeros_like(x)
    for a, w in zip(alphas.split(chunk), weights.split(chunk), strict=True):
        total += (bare_gradient(score, x * a.view(lift)) * w.view(lift)).sum(0, keepdim=True)
    return total * x


def gauss(n: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.tensor((nodes + 1) / 2, dtype=dtype), torch.tensor(weights / 2, dtype=dtype)
