"""Class activation maps by principal components: the direction in which the channels of a layer vary most."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values, accumulator

from .maps import maps


def projection(t: Tensor, centred: bool, by_sum: bool) -> Tensor:
    """(N, C, *places) on its first right singular vector, places being samples of C numbers: (N, 1, *places).

    A component has no sign of its own: the projection goes along with the sum over channels (`by_sum`), or is positive
    where it is largest. Its first derivative is exact.
    """
    rows = t.flatten(2).mT if t.ndim > 2 else t.unsqueeze(-2)  # (N, P, C)
    rows = rows.to(accumulator(t.dtype))
    if centred:
        rows = rows - rows.mean(-2, keepdim=True)
    tall = rows.shape[-2] > rows.shape[-1]
    gram = rows.mT @ rows if tall else rows @ rows.mT  # of the shorter side
    values, vectors = torch.linalg.eigh(gram.detach())
    top = vectors[..., -1:]
    if gram.requires_grad:  # the derivative of an eigenvector alone, which others of equal values do not disturb
        gaps = values[..., -1:] - values[..., :-1]
        inverse = torch.where(gaps > 0, 1 / gaps, 0)
        others = vectors[..., :-1]
        top = top + others @ (inverse.unsqueeze(-1) * (others.mT @ ((gram - gram.detach()) @ top)))
        length = top.mT @ gram @ top
    else:
        length = values[..., -1:, None]
    found = rows @ top if tall else top * length.clamp(min=0).sqrt()  # (N, P, 1)
    like = rows.sum(-1, keepdim=True) if by_sum else found.abs() == found.abs().amax(-2, keepdim=True)
    found = torch.where((found * like).sum(-2, keepdim=True) < 0, -found, found)
    return found.reshape(len(t), 1, *t.shape[2:]).to(t.dtype)


@method(
    "eigen_cam",
    title="Eigen-CAM",
    paper="Muhammad and Yeasin 2020, arXiv:2008.00299, equation 3",
    when="What a layer reacts to most in the picture, whatever the class: no gradient, no score.",
    needs="gradient",
    claims="map size layer",
)
def eigen_cam(
    q: Question,
    *,
    channel: int | None = None,
    reshape: Any = None,
    upsample: Any = False,
    relu: bool = True,
    centred: bool = False,
) -> Values:
    """The values of a layer, places by channels, projected on their first principal component: A v_1.

    In units of the values. `centred` takes each channel's mean over places away first; the sign is such that the place
    of the largest number is positive. Other options as in `grad_cam`.
    """
    q.activation()

    def make(x: Tensor) -> Tensor:
        found = projection(x, centred, by_sum=False)
        return found.clamp(min=0) if relu else found

    return maps(q, make, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "eigen_grad_cam",
    title="Eigen-Grad-CAM",
    paper="Muhammad and Yeasin 2020, arXiv:2008.00299, equation 3, of values times gradients",
    when="As Eigen-CAM, but for the class: calmer than HiResCAM, whose maps it projects.",
    claims="map size layer",
)
def eigen_grad_cam(
    q: Question,
    *,
    channel: int | None = None,
    reshape: Any = None,
    upsample: Any = False,
    relu: bool = True,
    centred: bool = False,
) -> Values:
    """The values of a layer times their gradients, projected on their first principal component over places.

    In units of the score, with the length of a vector over channels in the place of their sum, and the sign of the sum
    where it is largest. Options as in `eigen_cam`.
    """

    def make(x: Tensor, g: Tensor) -> Tensor:
        lead = g.shape[: g.ndim - x.ndim + 1]
        found: Tensor = projection((g * x).flatten(0, len(lead) - 1), centred, by_sum=True).unflatten(0, lead)
        return found.clamp(min=0) if relu else found

    return maps(q, make, q.gradient()[1], channel=channel, reshape=reshape, upsample=upsample)
