"""What the classes that perturb have in common.

* `feature_mask`, `layer_mask`: see `enodo.Features`: whole numbers, in any order and with gaps; None is each value.
* `baselines`: like the inputs, or an `enodo.Absence`; `layer_baselines`: like the value of the layer.
* `perturbations_per_eval`: at most so many of each row in one forward pass; at 1, the default, what fits is measured.
* `show_progress`: a bar, with the time that remains (needs tqdm).

A `forward_func` whose output has no row for each row of the inputs (a loss of the batch, say) is explained as a
function of the whole batch: features are of all rows alike, and the answer has one entry for each output.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.futures import Future

import enodo
from enodo import INPUT, Absence, BadArgument, BadType
from enodo.captum.attr._utils.attribution import PerturbationAttribution
from enodo.core.errors import describe, refuse
from enodo.core.given import count_rows, tensors
from enodo.core.targets import prepare, selector


class Perturbing(PerturbationAttribution):
    """A method without gradients, at the inputs."""

    def _perturbed(
        self,
        method: Any,
        inputs: Any,
        *,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
        target: Any = None,
        additional_forward_args: Any = None,
        **question: Any,
    ) -> Any:
        asked = {"internal_batch_size": limit(inputs, perturbations_per_eval), **question}
        asked |= {"progress": True} if show_progress else {}
        found = {"target": target, "additional_forward_args": additional_forward_args}
        try:
            return self._explain(method, inputs, wrt=places(inputs), **found, **asked).values
        except BadArgument as error:
            if not error.argument.startswith("target") or not re.search("one (score|tensor)", error.expected):
                raise
            return self._of_batch(method, inputs, error=error, **found, **question)

    def _of_batch(
        self,
        method: Any,
        inputs: Any,
        *,
        target: Any,
        additional_forward_args: Any,
        baselines: Any = None,
        features: Any = None,
        error: Exception | None = None,
        **question: Any,
    ) -> Any:
        """The answer about outputs that are not one a row: the batch is the only row, and its rows share features."""
        several = isinstance(inputs, tuple)
        batch = tuple(tensors(t, "inputs") for t in (inputs if several else (inputs,)))
        more = additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)
        more = () if additional_forward_args is None else more
        model = whole(self.forward_func, target, more, error)
        lifted = enodo.explain(
            model,
            tuple(t[None] for t in batch),
            method,
            target="all",
            baseline=_each(baselines, lambda b: b[None] if isinstance(b, Tensor) and b.ndim else b),
            features=alike(batch, features),
            wrt=[INPUT[i] for i in range(len(batch))],
            batch_size=1,
            **question,
        )
        found = tuple(t[:, 0, 0] for t in lifted.values)
        return found if several else found[0]


def limit(inputs: Any, perturbations_per_eval: Any) -> int | None:
    """Rows that a pass may have; None where it is left to measurement."""
    if isinstance(perturbations_per_eval, bool) or not isinstance(perturbations_per_eval, int):
        refuse("perturbations_per_eval", perturbations_per_eval, "a whole number from 1", kind=BadType)
    if perturbations_per_eval < 1:
        refuse("perturbations_per_eval", perturbations_per_eval, "a whole number from 1")
    rows = count_rows(tensors(inputs, "inputs"))
    return None if perturbations_per_eval == 1 else perturbations_per_eval * rows


def places(inputs: Any) -> Any:
    """The inputs; each by name where some are integers, which are then changed whatever the model does with them."""
    if isinstance(inputs, tuple) and any(isinstance(t, Tensor) and not t.is_floating_point() for t in inputs):
        return [INPUT[i] for i in range(len(inputs))]
    return INPUT


def alike(batch: tuple[Tensor, ...], mask: Any) -> Any:
    """A mask that is one for all rows, as one of the whole batch (1, 1, ...); None numbers the values of a row."""
    if mask is None:
        sizes = [t[0].numel() for t in batch]
        index = torch.arange(sum(sizes)).split(sizes)
        return tuple(i.view(1, 1, *t.shape[1:]) for i, t in zip(index, batch, strict=True))
    if isinstance(mask, enodo.Features):
        return mask
    masks = mask if isinstance(mask, tuple) else (mask,)
    for one in masks:
        if isinstance(one, Tensor) and one.ndim == batch[0].ndim and len(one) != 1:
            refuse("feature_mask", one, "one row for all rows, where the output has none for each of them")
    return tuple(one[None] if isinstance(one, Tensor) and one.ndim else one for one in masks)


def whole(fn: Callable[..., Any], target: Any, more: tuple[Any, ...], error: Exception | None) -> Callable[..., Tensor]:
    """A function of batches (k, B, ...): for each, the outputs of `fn` in a row, (k, outputs)."""

    def model(*batches: Tensor) -> Tensor:
        pairs = zip(*batches, strict=True)
        return torch.stack([chosen(fn(*batch, *more), len(batch[0])) for batch in pairs])

    def chosen(output: Any, rows: int) -> Tensor:
        if isinstance(output, (int, float)):
            return torch.tensor([output], dtype=torch.float64)
        if target is not None:
            return selector(prepare(target, rows), rows)(output).reshape(-1)
        if not isinstance(output, Tensor):
            raise error or BadType("forward_func", f"one that returned {describe(output)}", "a tensor or a number")
        return output.reshape(-1)

    return model


def promised(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, which has to return a Future."""

    def model(*args: Any, **kwargs: Any) -> Any:
        output = fn(*args, **kwargs)
        if not isinstance(output, Future):
            refuse("forward_func", f"one that returned {type(output).__name__}", "one that returns a Future, as asked")
        return output

    return model


def in_future(attribute: Callable[[], Any]) -> Future[Any]:
    """What `attribute` returns or raises, as a Future that a thread of its own completes."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(attribute())
        except BaseException as error:  # noqa: BLE001  it is raised where the future is waited for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def _each(baselines: Any, fn: Callable[[Any], Any]) -> Any:
    if baselines is None or isinstance(baselines, Absence):
        return baselines
    return tuple(map(fn, baselines)) if isinstance(baselines, tuple) else (fn(baselines),)
