"""The base classes: Captum's arguments turned into a call of `enodo.explain`, and its result into Captum's shapes.

Arguments that several classes share are explained here, once.

* `inputs`: a tensor, or a tuple of tensors that the model takes positionally; the attribution has the same structure.
  All that `enodo.explain` accepts is accepted too: dicts for keyword arguments, token ids, nested containers.
* `target`: see `enodo.core.targets`; `neuron_selector`: the same for the value of a layer.
* `baselines`: like the inputs, with numbers or single rows where they apply to every row; None is zero.
* `additional_forward_args`: one extra argument, or a tuple of them; tensors with one entry a row go with their rows.
* `internal_batch_size`: the most rows of one forward pass; None measures what fits.
* `attribute_to_layer_input`, `attribute_to_neuron_input`: ask about what goes into the layer instead of what comes out.
* `grad_kwargs`: of `torch.autograd.grad`; `create_graph` is obeyed, the others are in effect or change no value.
* `device_ids`: not needed, accepted.
* `return_convergence_delta`: also return how far each row's attributions are from summing to the difference of scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core import tree as trees
from enodo.core.draws import draws_of
from enodo.core.errors import BadArgument, refuse
from enodo.core.given import baseline_like, count_rows, tensors
from enodo.core.question import Question
from enodo.core.state import eager
from enodo.core.values import Values

GRAD_KWARGS = {"create_graph", "retain_graph", "only_inputs", "allow_unused", "materialize_grads", "is_grads_batched"}

HERE = {  # what this door calls the arguments that an error may name
    "quadrature": "method",
    "steps": "n_steps",
    "samples": "n_samples",
    "noise": "stdevs",
    "baseline": "baselines",
    "batch_size": "internal_batch_size",
    "features": "feature_mask",
}


@dataclass
class Smoothing:
    """What a `NoiseTunnel` asks of the method that it wraps."""

    method: str
    options: dict[str, Any]
    samples_a_pass: int | None = None  # of every row
    met: bool = field(default=False)  # whether the wrapped class came to ask


class Attribution:
    """A method that explains `forward_func`, any callable that returns a score, or a row of scores, for each row."""

    _smoothing: Smoothing | None = None
    _names: dict[str, str] = {}  # noqa: RUF012  read only

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        self.forward_func = forward_func

    def attribute_future(self) -> Any:
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions are differences of the inputs times a slope (global), or slopes (local)."""
        return False

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` takes `return_convergence_delta`."""
        return False

    @classmethod
    def get_name(cls: type[Attribution]) -> str:
        """The name of the class, in words."""
        return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*", cls.__name__))

    def _explain(
        self,
        method: str | Callable[[Question], Values],
        inputs: Any,
        *,
        baselines: Any = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        grad_kwargs: dict[str, Any] | None = None,
        seeded: bool = False,
        **question: Any,
    ) -> enodo.Attribution:
        """Ask `method`; `question` holds the target, the places asked about and the options of the method."""
        own = getattr(self, "gradient_func", None)
        if own not in (None, GradientAttribution.gradient_func):
            instead = "Call it in an `attribute` of your own, or write rules: enodo.explain(..., rules=...)."
            refuse("gradient_func", own, "that of the class, as no method here calls another", instead)
        if self._smoothing is not None:
            self._smoothing.met = True
            places = {"target", "wrt", "of", "progress"}
            own = {name: question.pop(name) for name in question.keys() - places}
            question |= {"inner": (method, own), **self._smoothing.options}
            method, seeded = self._smoothing.method, True
            if internal_batch_size is None and self._smoothing.samples_a_pass is not None:
                internal_batch_size = self._smoothing.samples_a_pass * count_rows(tensors(inputs, "inputs"))
        args = () if additional_forward_args is None else additional_forward_args
        model = eager(self.forward_func)
        try:
            for drawn in (seeded or draws_of(model), True):  # once more if the model turns out to draw random numbers
                if drawn:  # so that torch.manual_seed governs the answer
                    question["seed"] = int(torch.randint(2**62, ()))
                found = enodo.explain(
                    self.forward_func,
                    inputs,
                    method,
                    baseline=_like(inputs, baselines),
                    args=args if isinstance(args, tuple) else (args,),
                    batch_size="auto" if internal_batch_size is None else internal_batch_size,
                    create_graph=_creates_graph(grad_kwargs),
                    **question,
                )
                if drawn or not draws_of(model):
                    break
        except BadArgument as error:
            here = HERE | ({"target": "neuron_selector"} if "of" in question else {}) | self._names
            known = next((name for name in here if re.match(rf"{name}\b", error.argument)), None)
            if known is None:
                raise
            named = error.argument.replace(known, here[known], 1)
            raise type(error)(named, error.given, error.expected, error.instead) from None
        return found


class GradientAttribution(Attribution):
    """A method made of gradients."""

    @staticmethod
    def gradient_func(
        forward_fn: Callable[..., Any], inputs: Any, target_ind: Any = None, additional_forward_args: Any = None
    ) -> tuple[Tensor, ...]:
        """The gradient of the score at each input, for methods of a user's own."""
        found = Attribution(forward_fn)._explain(
            "gradient", inputs, target=target_ind, additional_forward_args=additional_forward_args
        )
        return tuple(t for _, t in trees.leaves(found.values))

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """(B,): the sum of each row's attributions, less the score at `end_point`, plus the score at `start_point`."""
        inputs = tensors(end_point, "end_point")
        rows = count_rows(inputs)
        start_inputs = baseline_like(_like(inputs, start_point), inputs, rows, background=False)
        end, target = self._scores(inputs, target, additional_forward_args)
        start, _ = self._scores(start_inputs, target, additional_forward_args)
        parts = [part for _, part in trees.leaves(tensors(attributions, "attributions")) if isinstance(part, Tensor)]
        for part in parts:
            if len(part) != rows:
                refuse("attributions", part, f"one entry for each of the {rows} rows of end_point")
        return torch.stack([part.reshape(rows, -1).sum(1) for part in parts]).sum(0) - (end - start)

    def _scores(self, inputs: Any, target: Any, args: Any) -> tuple[Tensor, Any]:
        """The scores, and the target with what was predicted in its place."""
        found = self._explain(_look, inputs, target=target, additional_forward_args=args)
        if found.scores is None:
            refuse("forward_func", self.forward_func, "a callable that returns scores")
        return found.scores, found.target if isinstance(target, str) and target == "predicted" else target


class PerturbationAttribution(Attribution):
    """A method that changes the inputs and looks at the scores."""

    @property
    def multiplies_by_inputs(self) -> bool:
        return True


class InternalAttribution(Attribution):
    """A method that asks about `layer`: a module, its dotted name, or an `enodo.Point`."""

    def __init__(self, forward_func: Callable[..., Any], layer: Any, device_ids: list[int] | None = None) -> None:
        super().__init__(forward_func)
        self.layer = layer
        self.device_ids = device_ids

    def _at(self, to_input: bool) -> Any:
        if isinstance(self.layer, (list, tuple)):
            return [_point(layer, to_input) for layer in self.layer]
        return _point(self.layer, to_input)


class LayerAttribution(InternalAttribution):
    """A method that attributes to the value of a layer, or of each layer of a list."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor, interpolate_dims: int | tuple[int, ...], interpolate_mode: str = "nearest"
    ) -> Tensor:
        """Resize (B, C, ...) to (B, C, *interpolate_dims), so that a convolution's attribution covers the input."""
        return F.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)

    def _values(self, found: enodo.Attribution) -> Any:
        """The values of a layer: a tensor, a tuple where it holds several; a list where a list of layers was asked."""
        if isinstance(self.layer, (list, tuple)):
            return [_bare(value) for value in found.values]
        return _bare(found.values)


class NeuronAttribution(InternalAttribution):
    """A method that explains a neuron of a layer: `neuron_selector` is the target within the layer's value."""

    def _of(self, neuron_selector: Any, to_input: bool) -> dict[str, Any]:
        return {"of": self._at(to_input), "target": _on_bare(neuron_selector)}


class Multiplying(InternalAttribution):
    """A method that may leave out its last step, the product with the difference from the baseline."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: Any,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._multiply_by_inputs = multiply_by_inputs

    @property
    def multiplies_by_inputs(self) -> bool:
        return self._multiply_by_inputs


def _look(question: Question) -> Values:
    """The inputs themselves: asked for the scores that come with every answer."""
    return question.x


def answer(found: enodo.Attribution, values: Any, with_delta: bool) -> Any:
    """What `attribute` returns."""
    if not with_delta:
        return values
    if found.delta is not None and found.options.get("sample_deltas"):
        return values, found.delta.movedim(0, -1).flatten(-2)  # (samples, B) -> (B * samples,)
    return values, found.delta


def _like(inputs: Any, baselines: Any) -> Any:
    """Baselines in the structure of the inputs, where one of the two is a 1-tuple and the other is not."""
    if isinstance(baselines, enodo.Absence):
        return baselines
    if isinstance(baselines, tuple) and len(baselines) == 1 and not isinstance(inputs, (tuple, list)):
        return baselines[0]
    if isinstance(inputs, tuple) and len(inputs) == 1 and not isinstance(baselines, tuple) and not callable(baselines):
        return (baselines,)
    return baselines


def _creates_graph(grad_kwargs: dict[str, Any] | None) -> bool:
    unknown = set(grad_kwargs or {}) - GRAD_KWARGS
    if unknown:
        instead = "To weigh outputs, give a callable as target."
        refuse("grad_kwargs", f"{sorted(unknown)}", f"keys among {sorted(GRAD_KWARGS)}", instead)
    return bool((grad_kwargs or {}).get("create_graph", False))


def _point(layer: Any, to_input: bool) -> enodo.Point:
    point = enodo.Point.parse(layer)
    return enodo.Point(point.layer, "in", point.call, point.path) if to_input and point.layer is not None else point


def _bare(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _on_bare(selector: Any) -> Any:
    """A selector that is called with the layer's tensor, also where the layer returns it in a 1-tuple."""
    if not callable(selector) or isinstance(selector, (nn.Module, Tensor)):
        return selector
    return lambda value: selector(_bare(value))
