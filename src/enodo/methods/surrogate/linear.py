"""Linear models fitted to many weighted samples of many rows and targets at once, with or without a penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from enodo.core.threads import cached_property
from enodo.methods.shapley.pairs import inverse

START = (0.5, 0.25, 0.12, 0.06, 0.03)  # penalties to begin with, relative to one at which all slopes are zero
NEWTON = 10  # steps of the active set at each of them, before the method that always converges
GRADIENT = 5000  # steps of that
TOLERANCE = 1e-10  # of the conditions for the optimum, relative to the largest correlation


@dataclass(frozen=True)
class Fit:
    """y = intercept + slopes z, of T targets and B rows."""

    slopes: Tensor  # (T, B, n)
    intercept: Tensor  # (T, B)
    quality: Tensor  # (T, B): weighted R^2, 1 where there is nothing to explain

    @staticmethod
    def of(moments: Moments, slopes: Tensor, intercept: Tensor) -> Fit:
        """A model with its quality on the samples that the moments are of."""
        off = (intercept - moments.intercept(slopes))[..., None]
        rest = moments.apart - times(slopes, moments.centred.mT) - off
        spread, left = ((t.square() * moments.share).sum(-1) for t in (moments.apart, rest))
        return Fit(slopes, intercept, torch.where(spread > 0, 1 - left / spread.clamp(min=1e-300), 1.0))


@dataclass(frozen=True)
class Moments:
    """What a linear model needs to know of weighted samples: what is centred, and its second moments."""

    share: Tensor  # (B, k): weights that sum to one
    centred: Tensor  # (B, k, n): of z
    apart: Tensor  # (T, B, k): of y
    gram: Tensor  # (B, n, n)
    along: Tensor  # (T, B, n): with y
    z: Tensor  # (B, n): mean
    y: Tensor  # (T, B): mean

    @staticmethod
    def of(z: Tensor, y: Tensor, w: Tensor) -> Moments:
        """Of samples z (B, k, n), y (T, B, k) with weights w (B, k)."""
        share = w / w.sum(-1, keepdim=True)
        mean, level = (share[:, None] @ z)[:, 0], (y * share).sum(-1)
        centred, apart = z - mean[:, None], y - level[..., None]
        pulled = centred * share[..., None]
        return Moments(share, centred, apart, pulled.mT @ centred, times(apart, pulled), mean, level)

    @cached_property
    def inverted(self) -> Tensor:
        """(B, n, n): the inverse of `gram`, or its pseudoinverse."""
        return inverse(self.gram)

    @cached_property
    def free(self) -> Tensor:
        """(T, B, n): the slopes without a penalty; of several the smallest."""
        return times(self.along, self.inverted)

    def intercept(self, slopes: Tensor) -> Tensor:
        """(T, B): what lets the model pass through the means."""
        return self.y - (slopes * self.z).sum(-1)


def ridge(moments: Moments, penalty: float) -> Tensor:
    """The slopes (T, B, n) with the least mean squared residual + penalty |slopes|^2; of several the smallest."""
    n = moments.gram.shape[-1]
    gram = moments.gram + penalty * torch.eye(n, dtype=moments.gram.dtype, device=moments.gram.device)
    if penalty:
        solved: Tensor = torch.linalg.solve(gram, moments.along.movedim(0, -1))
        return solved.movedim(-1, 0)
    return times(moments.along, torch.linalg.pinv(gram, hermitian=True, rtol=1e-10))


def times(rows: Tensor, matrices: Tensor) -> Tensor:
    """(T, B, i) by (B, i, j) -> (T, B, j)."""
    return (rows.movedim(0, 1) @ matrices).movedim(1, 0)


def lasso(moments: Moments, penalty: float) -> Tensor:
    """The slopes (T, B, n) with the least half of the mean squared residual + penalty sum |slopes|.

    The set of slopes that are not zero is found by steps of a semismooth Newton method (Griesse and Lorenz 2008), which
    end after a few, exactly; where they do not, by proximal gradients (Beck and Teboulle 2009), and then exactly.
    """
    gram, along = moments.gram, moments.along
    scale = along.abs().amax(-1, keepdim=True).clamp(min=1e-300)
    slopes = _newton(gram, along, penalty, moments.free, NEWTON)
    open_ = _violation(gram, along, penalty, slopes) > TOLERANCE * scale[..., 0]
    if open_.any():
        led = torch.zeros_like(along)
        for share in (*START, 0.0):  # from a penalty at which few slopes are not zero
            held = torch.maximum(share * scale, scale.new_tensor(penalty))
            led = _newton(gram, along, held, led, NEWTON)
        slopes = torch.where(open_[..., None], led, slopes)
        open_ = _violation(gram, along, penalty, slopes) > TOLERANCE * scale[..., 0]
    if open_.any():
        found = _proximal(gram, along, penalty, GRADIENT)
        polished = _newton(gram, along, penalty, found, 2)
        worse = _violation(gram, along, penalty, polished) > _violation(gram, along, penalty, found)
        slopes = torch.where(open_[..., None], torch.where(worse[..., None], found, polished), slopes)
    return slopes


def _descent(gram: Tensor, along: Tensor, slopes: Tensor) -> Tensor:
    return along - (gram @ slopes[..., None])[..., 0]


def _violation(gram: Tensor, along: Tensor, penalty: float, slopes: Tensor) -> Tensor:
    """(T, B): how far the conditions for the optimum are from holding."""
    down = _descent(gram, along, slopes)
    off = torch.where(slopes == 0, (down.abs() - penalty).clamp(min=0), (down - penalty * slopes.sign()).abs())
    return off.amax(-1)


def _newton(gram: Tensor, along: Tensor, penalty: float | Tensor, slopes: Tensor, steps: int) -> Tensor:
    """Slopes that solve the conditions on the set where slope + descent exceeds the penalty, until that set stays."""
    size = gram.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True).clamp(min=1e-300)  # (B, 1), so that units match
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    before = None
    for _ in range(steps):
        ahead = slopes * size + _descent(gram, along, slopes)
        active = ahead.abs() > penalty
        sign = torch.where(active, ahead.sign(), 0)
        if before is not None and torch.equal(sign, before):
            break
        before = sign
        both = active[..., None] & active[..., None, :]
        system = torch.where(both, gram, eye * size[..., None])
        solved, bad = torch.linalg.solve_ex(system, torch.where(active, along - penalty * sign, 0))
        if bad.any():
            break
        slopes = torch.where(active, solved, 0)
    return slopes


def _proximal(gram: Tensor, along: Tensor, penalty: float, steps: int) -> Tensor:
    """Accelerated proximal gradients from zero, with restarts."""
    step = 1 / torch.linalg.eigvalsh(gram)[..., -1].clamp(min=1e-300)[:, None]
    slopes = ahead = torch.zeros_like(along)
    momentum = 1.0
    for number in range(steps):
        moved = ahead + step * _descent(gram, along, ahead)
        new = moved.sign() * (moved.abs() - penalty * step).clamp(min=0)
        back = ((ahead - new) * (new - slopes)).sum() > 0
        following = 1.0 if back else (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new if back else new + (momentum - 1) / following * (new - slopes)
        change = (new - slopes).abs().amax()
        slopes, momentum = new, following
        if number % 50 == 49 and change <= TOLERANCE * slopes.abs().amax():
            break
    return slopes
