"""Blur IG: from the inputs blurred away to the inputs themselves, without a baseline."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streaming import Points
from enodo.core.values import Values

from .path import MAX_STEPS, check_steps, kept, nodes_and_ends, settle, sizes_up_to
from .stieltjes import stieltjes


@method(
    "blur_ig",
    title="Blur integrated gradients",
    paper="Xu et al. 2020, arXiv:2004.03383, equation 4",
    when="Pictures and series for which no baseline is neutral: contributions by scale, from coarse to fine.",
    claims="completeness",
)
def blur_ig(
    q: Question,
    *,
    steps: int = 50,
    quadrature: str = "gausslegendre",
    sigma: float | None = None,
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
) -> Values:
    """The gradient integrated along the path of the Gaussian blurs of x: a_i = integral of df/dx_i dx_i(sigma).

    The blur's width goes from `sigma` places (by default the longest side, which leaves nothing but each channel's
    mean) to zero, quadratically, as the score changes most where it is narrow. sum(a) = f(x) - f(x blurred by `sigma`),
    in units of the score. Edges reflect, so that blurring keeps the mean. `steps` points beside both ends; other
    options as in `conductance`.
    """
    widest(q.x, sigma)  # refuses what has no places

    def attempt(part: Question, n: int) -> Values:
        alphas, _ = nodes_and_ends(quadrature, n)
        points, again = kept(blurred(part, alphas, widest(part.x, sigma)))
        first: list[Tensor] = []

        def blocks() -> Any:
            for i, j, (scores, g) in part.scored_grads(len(alphas), points):
                if i == 0:
                    first.append(scores[0].detach())
                yield i, j, (again(i, j), g)

        found = stieltjes(blocks(), len(alphas))
        part.memo["baseline scores"] = first[0]
        return found

    if tol is None:
        check_steps(steps)
        return attempt(q, steps)
    sizes = sizes_up_to(max_steps)
    base: list[Tensor] = []

    def level(part: Question, rows: Tensor, number: int, state: list[Values]) -> tuple[Values, list[Values]]:
        found = attempt(part, sizes[number])
        base.append(part.memo["baseline scores"])
        return found, []

    settled = settle(q, tol, sizes, level)
    q.memo["baseline scores"] = base[0]  # of all rows
    return settled


def widest(x: Values, sigma: Any) -> float:
    """The width of the blur that a path begins with."""
    sides = [n for t in x.leaves for n in t.shape[2:]]
    if not sides:
        refuse("wrt", f"values of shape {tuple(x.leaves[0].shape)}", "pictures or series, (B, C, ...), to be blurred")
    if sigma is None:
        return float(max(sides))
    if isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not 0 < sigma < math.inf:
        refuse("sigma", sigma, "the width of the widest blur, a positive number of places", kind=BadType)
    return float(sigma)


def blurred(q: Question, alphas: Tensor, sigma: float) -> Points:
    """The values at `wrt`, (B, C, *places), blurred by sigma (1 - alpha)^2; those without places as they are."""
    if q.wrt.ids:
        refuse("inputs", "token ids", "pictures or series, (B, C, ...), to be blurred")
    x = q.x
    if any(t.ndim < 3 for t in x.leaves):
        q.log.note("What has no places is not blurred: its attribution is zero.")

    def points(i: int, j: int) -> Values:
        widths = sigma * (1 - alphas[i:j]) ** 2

        def at(t: Tensor) -> Tensor:
            made = t.expand(j - i, *t.shape)
            for dim in range(3, made.ndim) if t.ndim > 2 else ():
                kernels = _kernels(t.shape[dim - 1], widths).to(t)  # (k, N, N)
                turned = made.movedim(dim, -1)
                shape = (len(kernels), *[1] * (turned.ndim - 3), *kernels.shape[1:])
                made = (turned @ kernels.view(shape)).movedim(-1, dim)
            return torch.where(widths.to(t).view(-1, *[1] * t.ndim) == 0, t, made)  # to the last bit

        return x.map(at)

    return points


def _kernels(n: int, widths: Tensor) -> Tensor:
    """The Gaussian blur of n places between edges that reflect, (k, n, n): cosines, each damped as it is narrow."""
    place, wave = torch.arange(n, dtype=torch.float64), torch.arange(n, dtype=torch.float64)
    cosines = torch.cos(math.pi / n * (place + 0.5) * wave[:, None]) * (2 / n) ** 0.5  # (waves, places)
    cosines[0] /= 2**0.5
    damped = torch.exp(-((widths[:, None] * wave * math.pi / n) ** 2) / 2)  # (k, waves)
    kernels: Tensor = cosines.T @ (damped[:, :, None] * cosines)
    return kernels
