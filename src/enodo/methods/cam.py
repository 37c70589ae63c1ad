"""Class activation maps by gradients: which places of a layer speak for the score; see `maps` for how they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import refuse
from enodo.core.places import Where
from enodo.core.points import locate
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .backprop import guided_backprop
from .maps import maps, resized

Weigh = Callable[[Tensor, Tensor, list[int]], Tensor]  # values, gradients and the dimensions of places -> weights


def weighed(q: Question, weigh: Weigh, relu: bool, summed: bool = True, **layout: Any) -> Values:
    """The sum over channels of values times weights, of which the negative part is cut off."""

    def make(x: Tensor, g: Tensor) -> Tensor:
        places = list(range(2 - x.ndim, 0))
        found = weigh(x, g, places) * x
        found = found.sum(1 - x.ndim, keepdim=True) if summed else found
        return found.clamp(min=0) if relu else found

    return maps(q, make, q.gradient()[1], **layout)


def _mean(x: Tensor, g: Tensor, places: list[int]) -> Tensor:
    return g.mean(places, keepdim=True) if places else g


def _total(t: Tensor, places: list[int]) -> Tensor:
    return t.sum(places, keepdim=True) if places else t


def _by_activation(x: Tensor, g: Tensor, places: list[int]) -> Tensor:
    size = x.abs()
    mass = _total(size, places)
    return _total(g * size, places) / torch.where(mass == 0, 1, mass)


def _plus_plus(x: Tensor, g: Tensor, places: list[int]) -> Tensor:
    """Equation 19, g^2 / (2 g^2 + sum(x) g^3), times g where it is positive; x as after a ReLU."""
    up = g.clamp(min=0)
    return _total(up / (2 + _total(x.clamp(min=0), places) * up), places)


@method(
    "grad_cam",
    title="Grad-CAM",
    paper="Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2",
    when="Where in the picture a convolutional network looked, coarsely: ask at its last convolution (wrt=).",
    needs="gradient score",
    claims="map size layer",
)
def grad_cam(
    q: Question,
    *,
    channel: int | None = None,
    reshape: Any = None,
    upsample: Any = False,
    relu: bool = True,
    summed: bool = True,
) -> Values:
    """The values of a layer summed over channels, each weighted by the mean of its gradient over places.

    In units of score times places. relu=False keeps what speaks against the score, summed=False the channels apart;
    `channel`, `reshape` and `upsample` are those of `maps.maps`.
    """
    return weighed(q, _mean, relu, summed, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "xgrad_cam",
    title="XGrad-CAM",
    paper="Fu et al. 2020, arXiv:2008.02312, equation 8",
    when="As Grad-CAM, with weights that bring its sum close to the score: gradients count where the values are.",
    needs="gradient score",
    claims="map size layer",
)
def xgrad_cam(
    q: Question, *, channel: int | None = None, reshape: Any = None, upsample: Any = False, relu: bool = True
) -> Values:
    """Grad-CAM whose mean gradient over places is weighted by the size of the values there.

    After a ReLU that is equation 8; values of both signs, which may add up to nothing, are no weights. Options as in
    `grad_cam`.
    """
    return weighed(q, _by_activation, relu, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "grad_cam_plus_plus",
    title="Grad-CAM++",
    paper="Chattopadhay et al. 2018, arXiv:1710.11063, equations 5 and 19",
    when="As Grad-CAM, where several instances of a class are in the picture.",
    needs="gradient score",
    claims="map size layer",
)
def grad_cam_plus_plus(
    q: Question, *, channel: int | None = None, reshape: Any = None, upsample: Any = False, relu: bool = True
) -> Values:
    """Grad-CAM weighted by positive gradients alone, places by how much they matter to an exponential score.

    The sum of values in equation 19 is that of the positive ones, as after a ReLU. Options as in `grad_cam`.
    """
    return weighed(q, _plus_plus, relu, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "hires_cam",
    title="HiResCAM",
    paper="Draelos and Carin 2020, arXiv:2011.08891, equation 4",
    when="As Grad-CAM, faithful to where the gradient is: no mean over places.",
    needs="gradient score",
    claims="map size layer",
)
def hires_cam(
    q: Question, *, channel: int | None = None, reshape: Any = None, upsample: Any = False, relu: bool = True
) -> Values:
    """The values of a layer times their gradient, summed over channels.

    Options as in `grad_cam`.
    """
    return weighed(q, lambda x, g, places: g, relu, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "layer_cam",
    title="Layer-CAM",
    paper="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943, equation 6",
    when="As Grad-CAM, at early layers too: fine maps.",
    needs="gradient score",
    claims="map size layer",
)
def layer_cam(
    q: Question, *, channel: int | None = None, reshape: Any = None, upsample: Any = False, relu: bool = True
) -> Values:
    """The values of a layer times the positive part of their gradient, summed over channels."""
    return weighed(q, lambda x, g, places: g.clamp(min=0), relu, channel=channel, reshape=reshape, upsample=upsample)


@method(
    "guided_grad_cam",
    title="Guided Grad-CAM",
    paper="Selvaraju et al. 2017, arXiv:1610.02391, section 3.2",
    when="The detail of guided backpropagation, where Grad-CAM says that the class is.",
)
def guided_grad_cam(q: Question, *, layer: Any, mode: str | None = None) -> Values:
    """Guided backpropagation times the Grad-CAM map of `layer`, brought to the size of the input.

    `layer` is spelt like `wrt`; `mode` is that of `torch.nn.functional.interpolate`, linear by default. Of several
    inputs, those with other dimensions of places than the layer's have no map, and are zero.
    """
    point, name = locate(layer, q.call.model, "layer")
    inner = replace(q, wrt=Where((point,), (name,)), target=q.settled_target, memo={})
    found = grad_cam(inner).leaves[0]
    guided = guided_backprop(q)
    fits = [x.ndim > 2 and t.ndim == found.ndim for x, t in zip(q.x.leaves, guided.leaves, strict=True)]
    if not any(fits):
        given = f"a layer of values {tuple(inner.x.leaves[0].shape)} for inputs {tuple(q.x.leaves[0].shape)}"
        refuse("layer", given, "as many dimensions of places as the input has")
    if not all(fits):
        q.log.note("Inputs with other dimensions of places than the layer's have no map: their attribution is zero.")

    def times(t: Tensor, x: Tensor) -> Tensor:
        if x.ndim < 3 or t.ndim != found.ndim:
            return torch.zeros_like(t)
        return t * resized(found, t.ndim - x.ndim + 1, x.shape[2:], mode)

    return guided.map(times, q.x)
