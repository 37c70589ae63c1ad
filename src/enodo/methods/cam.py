"""Class activation maps: which places of a layer speak for the score.

Values (B, C, ...) have channels in dimension 1; the tokens of a sequence or of a vision transformer, (B, T, D), are
places, and D their channels. A map has one channel: (B, 1, ...), or (B, T, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enodo.core.errors import refuse
from enodo.core.places import Where
from enodo.core.points import locate
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.values import Values

from .backprop import guided_backprop

Weigh = Callable[[Tensor, Tensor, list[int]], Tensor]  # values, gradients and the dimensions of places -> weights


def _channel(q: Question, x: Tensor, channel: int | None) -> int:
    """The dimension of the channels, counted from the end."""
    if channel is not None:
        if not -x.ndim < channel < x.ndim or channel % x.ndim == 0:
            refuse("channel", channel, f"a dimension of values of shape {tuple(x.shape)} other than the first")
        return channel % x.ndim - x.ndim
    images = any(t.ndim > 3 for t in q.entry_x.leaves)
    tokens = x.ndim == 3 and (bool(q.wrt.ids or q.entry.ids) or (images and not q.wrt.at_inputs))
    return -1 if tokens else 1 - x.ndim


def maps(q: Question, weigh: Weigh, channel: int | None, relu: bool, resize: bool, summed: bool = True) -> Values:
    """The sum over channels of values times weights, of which the negative part is cut off."""
    x, g = q.gradient()

    def one(values: Tensor, gradients: Tensor) -> Tensor:
        if values.ndim == 1:  # a number a row is a channel, and a place
            return (values * gradients).clamp(min=0) if relu else values * gradients
        c = _channel(q, values, channel)
        places = [d for d in range(1 - values.ndim, 0) if d != c]
        found = weigh(values, gradients, places) * values
        found = found.sum(c, keepdim=True) if summed else found
        found = found.clamp(min=0) if relu else found
        return _to_inputs(q, found, c) if resize else found

    return x.map(one, g)


def _to_inputs(q: Question, found: Tensor, channel: int) -> Tensor:
    """A map (..., B, 1, h, w) or (..., B, T, 1) as (..., B, 1, H, W), in the size of the input image."""
    sizes = [t.shape[2:] for t in q.entry_x.leaves if t.ndim > 2]
    if not sizes:
        refuse("resize", "True, for inputs without places", "images or series, (B, C, ...)")
    lead = found.ndim + channel if channel != -1 else found.ndim - 2
    if channel == -1:
        side = round((found.shape[-2] - 1) ** 0.5) if round(found.shape[-2] ** 0.5) ** 2 != found.shape[-2] else 0
        side, first = (side, found.shape[-2] - side * side) if side else (round(found.shape[-2] ** 0.5), 0)
        if first > 2:
            refuse("resize", f"True, for {found.shape[-2]} tokens", "as many tokens as a square has, and a class token")
        found = found[..., first:, :].movedim(-1, -2).unflatten(-1, (side, side))
    return upsample(found, lead, sizes[0])


def upsample(found: Tensor, lead: int, size: Any) -> Tensor:
    """(..., C, *places) with `lead` dimensions before the channels, in another size, smoothly."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    flat = F.interpolate(found.flatten(0, lead - 1), size=tuple(size), mode=mode, align_corners=False)
    resized: Tensor = flat.unflatten(0, found.shape[:lead])
    return resized


def _mean(x: Tensor, g: Tensor, places: list[int]) -> Tensor:
    return g.mean(places, keepdim=True) if places else g


def _total(t: Tensor, places: list[int]) -> Tensor:
    return t.sum(places, keepdim=True) if places else t


def _by_activation(x: Tensor, g: Tensor, places: list[int]) -> Tensor:
    mass = _total(x.abs(), places)
    return _total(g * x, places) / torch.where(mass == 0, 1, mass)


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
    claims="map",
)
def grad_cam(
    q: Question, *, channel: int | None = None, relu: bool = True, resize: bool = False, summed: bool = True
) -> Values:
    """The values of a layer summed over channels, each weighted by the mean of its gradient over places.

    In units of score times places. `channel` is the dimension of channels where it is not found out; relu=False keeps
    what speaks against the score; `resize` brings the map to the size of the input, (B, 1, H, W); summed=False keeps
    the channels apart.
    """
    return maps(q, _mean, channel, relu, resize, summed)


@method(
    "xgrad_cam",
    title="XGrad-CAM",
    paper="Fu et al. 2020, arXiv:2008.02312, equation 8",
    when="As Grad-CAM, with weights that make its sum as close to the score as one weight a channel can.",
    needs="gradient score",
    claims="map",
)
def xgrad_cam(q: Question, *, channel: int | None = None, relu: bool = True, resize: bool = False) -> Values:
    """Grad-CAM whose mean gradient over places is weighted by the values there. Options as in `grad_cam`."""
    return maps(q, _by_activation, channel, relu, resize)


@method(
    "grad_cam_plus_plus",
    title="Grad-CAM++",
    paper="Chattopadhay et al. 2018, arXiv:1710.11063, equations 5 and 19",
    when="As Grad-CAM, where several instances of a class are in the picture.",
    needs="gradient score",
    claims="map",
)
def grad_cam_plus_plus(q: Question, *, channel: int | None = None, relu: bool = True, resize: bool = False) -> Values:
    """Grad-CAM weighted by positive gradients alone, places by how much they matter to an exponential score."""
    return maps(q, _plus_plus, channel, relu, resize)


@method(
    "hires_cam",
    title="HiResCAM",
    paper="Draelos and Carin 2020, arXiv:2011.08891, equation 4",
    when="As Grad-CAM, faithful to where the gradient is: no mean over places.",
    needs="gradient score",
    claims="map",
)
def hires_cam(q: Question, *, channel: int | None = None, relu: bool = True, resize: bool = False) -> Values:
    """The values of a layer times their gradient, summed over channels. Options as in `grad_cam`."""
    return maps(q, lambda x, g, places: g, channel, relu, resize)


@method(
    "layer_cam",
    title="Layer-CAM",
    paper="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943, equation 6",
    when="As Grad-CAM, at early layers too: fine maps.",
    needs="gradient score",
    claims="map",
)
def layer_cam(q: Question, *, channel: int | None = None, relu: bool = True, resize: bool = False) -> Values:
    """The values of a layer times the positive part of their gradient, summed over channels."""
    return maps(q, lambda x, g, places: g.clamp(min=0), channel, relu, resize)


@method(
    "guided_grad_cam",
    title="Guided Grad-CAM",
    paper="Selvaraju et al. 2017, arXiv:1610.02391, section 3.2",
    when="The detail of guided backpropagation, where Grad-CAM says that the class is.",
)
def guided_grad_cam(q: Question, *, layer: Any, mode: str | None = None) -> Values:
    """Guided backpropagation times the Grad-CAM map of `layer`, brought to the size of the input.

    `layer` is spelt like `wrt`; `mode` is that of `torch.nn.functional.interpolate`, linear by default.
    """
    point, name = locate(layer, q.call.model, "layer")
    inner = replace(q, wrt=Where((point,), (name,)), target=q.settled_target, memo={})
    found = grad_cam(inner).leaves[0]
    guided = guided_backprop(q)

    def times(t: Tensor) -> Tensor:
        places = len(q.x.leaves[0].shape) - 2
        if places < 1 or found.ndim != t.ndim:
            given = f"a layer of values {tuple(inner.x.leaves[0].shape)} for inputs {tuple(q.x.leaves[0].shape)}"
            refuse("layer", given, "as many dimensions of places as the input has")
        lead = t.ndim - places - 1
        if mode is None:
            return t * upsample(found, lead, t.shape[-places:])
        flat = F.interpolate(found.flatten(0, lead - 1), size=tuple(t.shape[-places:]), mode=mode)
        resized: Tensor = t * flat.unflatten(0, found.shape[:lead])
        return resized

    return guided.map(times)
