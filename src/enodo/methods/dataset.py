"""What a metric of a whole data set owes to each feature: the data streamed, the features the same in every row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from enodo.core import tree as trees
from enodo.core.absence import Absence
from enodo.core.draws import Draws, Drew
from enodo.core.errors import BadType, describe, refuse
from enodo.core.explain import ask, examined, explain
from enodo.core.features import Features
from enodo.core.points import INPUT, OUTPUT
from enodo.core.registry import card_of
from enodo.core.result import Attribution
from enodo.core.running import Call, forward
from enodo.core.values import Values

EXPLAINED, GIVEN, KEPT = 0, 1, 2  # roles of what a loader yields: explained; given as it is; not given to the model
ROLES = (EXPLAINED, GIVEN, KEPT)
ROWS = 512  # of a pass in which several coalitions meet a batch


def explain_dataset(
    model: Callable[..., Any],
    loader: Iterable[Any],
    method: str | Callable[..., Values] = "feature_ablation",
    *,
    features: Any = None,
    baseline: Any = None,
    roles: Sequence[int] | None = None,
    reduce: Callable[[Any, Any, tuple[Any, ...]], Any] | None = None,
    metric: Callable[[Any], Any] | None = None,
    at_once: int = 16,
    **asked: Any,
) -> Attribution:
    """Explain a metric of a model over a data set: what it owes to each feature, by any method without gradients.

    loader     yields batches, the same each time it is gone through: a tensor, or a tuple or list
    roles      for each entry of a batch: 0 explained, 1 given to the model as it is, 2 not given to it (a label)
    reduce     reduce(state, output, batch) -> state, from None on; by default the outputs are joined
    metric     metric(state) -> a number or a tensor, by default the state itself
    features   see `enodo.Features`; of one row, the same for all
    baseline   a number, or for each entry explained a number or a tensor of one row; None is zero
    at_once    coalitions whose states are kept while the loader is gone through once
    asked      further arguments of `enodo.explain`, options of the method among them

    A model that draws random numbers draws in each batch, whatever is absent from it, what `seed` names.
    The Attribution is shaped like the entries explained, for one row, (..., *row), the metric's dimensions in front.
    """
    if isinstance(method, str) and "gradient" in card_of(method).needs:
        refuse("method", repr(method), "one without gradients, such as feature_ablation or kernel_shap")
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        refuse("at_once", at_once, "a whole number from 1", kind=BadType)
    corpus = Corpus.of(model, loader, roles, features, baseline, reduce, metric, asked.get("seed", 0))
    n = corpus.layout.n
    present = torch.ones(1, n, dtype=torch.float64)
    found = explain(corpus, present, method, target="all", baseline=0, batch_size=at_once, **asked)
    if corpus.call.draws.met:
        found.notes.append(corpus.call.draws.note)
    shape = corpus.shape
    if found.tensor.shape[-1:] != (n,):
        refuse("method", repr(found.method), f"a method that gives each of {n} features a number")
    phi = found.tensor.reshape(*shape, 1, n)
    whole = corpus.layout.spread(phi, Values(t[:1] for t in corpus.rows))
    values = [t.squeeze(len(shape)) for t in whole.leaves]
    model_name = getattr(model, "__name__", type(model).__name__)
    return replace(found, values=tuple(values) if corpus.several else values[0], model=model_name)


@dataclass
class Corpus:
    """The metric as a function of which features are present, (k, n) -> (k, outputs): goes through the data once."""

    call: Call
    loader: Iterable[Any]
    roles: tuple[int, ...]
    layout: Any
    rows: tuple[Tensor, ...]  # of the first batch, what is explained
    stand_ins: tuple[Tensor, ...]  # a row (1, ...) for each of them
    reduce: Callable[[Any, Any, tuple[Any, ...]], Any]
    metric: Callable[[Any], Any]
    several: bool
    shape: tuple[int, ...] = ()  # of the metric
    watches = True  # for random numbers of the model; a loader that shuffles may draw

    @staticmethod
    def of(
        model: Any, loader: Any, roles: Any, features: Any, baseline: Any, reduce: Any, metric: Any, seed: int
    ) -> Corpus:
        """The Corpus, by its first batch."""
        batches = iter(loader) if isinstance(loader, Iterable) or hasattr(loader, "__getitem__") else None
        if batches is None:
            refuse("loader", loader, "batches that can be gone through", kind=BadType)
        if batches is loader:
            refuse("loader", loader, "batches that can be gone through again and again", "Write list(loader).")
        first = next(batches, None)
        if first is None:
            refuse("loader", loader, "at least one batch")
        batch, several = (tuple(first), True) if isinstance(first, (tuple, list)) else ((first,), False)
        kinds = tuple(roles) if roles is not None else (EXPLAINED,) * len(batch)
        if len(kinds) != len(batch) or any(k not in ROLES for k in kinds) or EXPLAINED not in kinds:
            refuse("roles", roles, f"one of {ROLES} for each of {len(batch)} entries, 0 for at least one")
        if not _takes(model, sum(k != KEPT for k in kinds)):
            told = f"{roles}, for batches of {len(batch)} entries that the model does not take together"
            refuse("roles", told, f"one of {ROLES} for each", "Write roles=(0, 2) for batches of inputs and labels.")
        rows = tuple(t for t, kind in zip(batch, kinds, strict=True) if kind == EXPLAINED)
        for t in rows:
            if not isinstance(t, Tensor) or not t.ndim:
                refuse("loader", f"batches with {describe(t)} to be explained", "tensors, rows first", kind=BadType)
        given = baseline if isinstance(baseline, (tuple, Absence)) else (baseline,) * len(rows)
        wrt = [INPUT[i] for i in range(len(rows))]
        shown = tuple(t[:1] for t in rows)
        q = ask(lambda *x: x[0], shown, baseline=given, wrt=wrt, needs=frozenset({"absence"}))
        mask = features if isinstance(features, (tuple, int, Features, type(None))) else (features,)
        layout = Features.of(mask).lay(q)
        stand_ins = (q.absence or Absence()).stand_ins(q)
        if len(stand_ins.leaves[0]) > 1 or (q.absence and (q.absence.paint or q.absence.removal)):
            refuse("baseline", str(q.absence), "a number or a row for each entry explained")
        more = (reduce or _joined, metric or (lambda state: state), several)
        bare, state = examined(model)
        call = Call(bare, (), (), {}, 0, state, Draws(bare, seed))
        return Corpus(call, loader, kinds, layout, rows, tuple(t[0] for t in stand_ins.leaves), *more)

    def __call__(self, present: Tensor) -> Tensor:
        """The metrics, (k, outputs), of k coalitions (k, n), in which 1 is present."""
        masks = self.layout.present(present > 0.5)
        states: list[Any] = [None] * len(present)
        for found in self.loader:
            batch = tuple(found) if isinstance(found, (tuple, list)) else (found,)
            rows = next(len(t) for t, kind in zip(batch, self.roles, strict=True) if kind == EXPLAINED)
            step = max(1, ROWS // max(rows, 1))
            for i in range(0, len(present), step):
                some = range(i, min(i + step, len(present)))
                changed = [self._changed(batch, masks, j) for j in some]
                for j, entries, output in zip(some, changed, self._outputs(changed, rows), strict=True):
                    states[j] = self.reduce(states[j], output, entries)
        metrics = [_exact(self.metric(state)) for state in states]
        self.shape = tuple(metrics[0].shape)
        return torch.stack([m.reshape(-1) for m in metrics])

    def _changed(self, batch: tuple[Any, ...], masks: list[Tensor], j: int) -> tuple[Any, ...]:
        """A batch in coalition j."""
        parts = iter(zip(masks, self.stand_ins, strict=True))
        out = []
        for entry, kind in zip(batch, self.roles, strict=True):
            if kind != EXPLAINED:
                out.append(entry)
                continue
            mask, stand_in = next(parts)
            out.append(torch.where(mask[j].to(entry.device), entry, stand_in.to(entry.device, entry.dtype)))
        return tuple(out)

    def _outputs(self, batches: list[tuple[Any, ...]], rows: int) -> list[Any]:
        """The model's output for each batch: of all in one pass where it has a row for each of theirs."""
        given = [[e for e, kind in zip(b, self.roles, strict=True) if kind != KEPT] for b in batches]
        apart = self.call.state.training or self.call.draws.kind  # where rows depend on their batch mates
        if len(given) > 1 and not apart and all(isinstance(e, Tensor) and e.ndim and len(e) == rows for e in given[0]):
            output = self._output([torch.cat(entries) for entries in zip(*given, strict=True)], rows * len(given))
            parts = [t for _, t in trees.leaves(output) if isinstance(t, Tensor)]
            if parts and all(t.ndim and len(t) == rows * len(given) for t in parts):
                return [_part(output, rows, j) for j in range(len(given))]
        return [self._output(entries, rows) for entries in given]

    def _output(self, entries: Sequence[Any], rows: int) -> Any:
        drew = self.call.draws.kind
        output, _ = forward(replace(self.call, inputs=tuple(entries), rows=rows), OUTPUT, (), grad=False)
        if self.call.draws.kind and not drew:
            raise Drew
        return output


def _exact(metric: Any) -> Tensor:
    """A metric as a tensor; numbers of Python have the precision that they have there."""
    try:
        return torch.as_tensor(metric, dtype=torch.float64 if isinstance(metric, float) else None)
    except (TypeError, ValueError, RuntimeError):
        refuse("metric", f"a function that returned {describe(metric)}", "one that returns a number or a tensor")


def _takes(model: Callable[..., Any], entries: int) -> bool:
    """Whether a model may be called with so many arguments, as far as its signature tells."""
    try:
        known = inspect.signature(model.forward if isinstance(model, nn.Module) else model)
    except (TypeError, ValueError):
        return True
    try:
        known.bind(*[None] * entries)
    except TypeError:
        return False
    return True


def _part(output: Any, rows: int, j: int) -> Any:
    return trees.map_tree(lambda t: t[j * rows : (j + 1) * rows] if isinstance(t, Tensor) else t, output)


def _joined(state: Any, output: Any, batch: tuple[Any, ...]) -> Any:
    return output if state is None else torch.cat([state, output])
