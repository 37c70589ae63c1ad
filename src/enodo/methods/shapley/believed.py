"""Values from few equations: how much of the scores is additive is weighed by how well each share explains them.

Least squares of about as many equations as values go astray with whatever is not additive, by many times the values. A
ridge keeps them: values are believed to be alike in size, and scores to be off by noise. Which part of the variance is
noise is not known, so each is tried, and counts by its likelihood (the evidence of MacKay 1992,
doi:10.1162/neco.1992.4.3.415), about a prior under which a third is. A ridge takes from large values; it is applied
twice, the second time to what the first left, which takes the square of the share.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DECADES = (-6.0, 2.0, 0.5)  # of the variance of noise, relative to what values explain: first, last, step
PRIOR = (-0.5, 0.5)  # mean and deviation of that, in decades
SAME = 1e-10  # relative, of what is no more than rounding
SURE = 2  # equations beyond the unknowns from which on a fit without a residual is no accident
SPREAD = 2.0  # how much larger than most a value may be for what the ridge takes from it to be stated


def believed(a: Tensor, y: Tensor, held: bool, rounding: float) -> tuple[Tensor, Tensor]:
    """Values x of a x = y + noise and their standard errors, (B, T, n), for a (B, m, n) and y (B, T, m).

    `held` tells that the rows of `a` sum to zero, so that of x the part that is alike in all is not asked about, and
    `rounding` how far off y is by itself, relative to its size.
    """
    m, n = a.shape[1:]
    left, size, right = torch.linalg.svd(a, full_matrices=False)
    scale = a.square().sum((-2, -1))[:, None] / m
    lever = (size.square() / scale)[:, None]  # (B, 1, r), as are all that follow, with T for 1 and noise in front
    seen = lever > SAME * lever.amax(-1, keepdim=True)
    u = y @ left * seen
    rest, squares = (y - u @ left.mT).square().sum(-1), y.square().sum(-1)
    decades = torch.arange(DECADES[0], DECADES[1] + DECADES[2] / 2, DECADES[2], dtype=a.dtype, device=a.device)
    noise = (10**decades).view(-1, 1, 1, 1)
    chance = torch.log_softmax(-((decades - PRIOR[0]) / PRIOR[1]).square() / 2, 0).view(-1, 1, 1)
    spread = (u.square() / (lever + noise)).sum(-1) + rest / noise[..., 0]
    volume = (lever + noise).log().sum(-1) + (m - size.shape[-1]) * noise[..., 0].log()
    counts = torch.softmax(chance - (m * spread.clamp(min=1e-300).log() + volume) / 2, 0)[..., None]
    share = rest / squares.clamp(min=1e-300)
    additive = (share <= rounding**2) & (m >= seen.sum(-1) + SURE)
    noise = torch.where(additive[..., None], share.clamp(min=SAME**2)[..., None], noise)
    kept = (1 - (noise / (lever + noise)).square()) * seen
    each = (kept * u / size[:, None].clamp(min=1e-150)) @ right
    typical = ((u.square() / (lever + noise)).sum(-1) + rest / noise[..., 0])[..., None] / (m * scale[..., None])
    along = right.square()
    lost, lost_twice = (F.threshold((1 - held / n) - part @ along, SAME, 0) for part in (kept, 2 * kept - kept**2))
    drawn = typical * (kept.square() * noise / lever.clamp(min=1e-300)) @ along
    variance = drawn + lost_twice * typical + SPREAD * lost.square() * each.square()
    mean = (counts * each).sum(0)
    return mean, (counts * (variance + (each - mean).square())).sum(0).sqrt()
