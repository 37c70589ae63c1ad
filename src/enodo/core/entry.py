"""The baseline, in the space in which gradients reach the inputs; and what a question sees there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import tree as trees
from .errors import refuse
from .given import LEFT_OUT
from .lookups import Lookup
from .places import Visit
from .running import forward, stack
from .values import Values, concat

if TYPE_CHECKING:
    from .asked import Asked


def take_baseline(baseline: Any, rows: int, index: Tensor) -> Any:
    """The baseline of some of the rows."""

    def some(t: Any) -> Any:
        return t[index.to(t.device)] if isinstance(t, Tensor) and t.ndim and len(t) == rows else t

    return trees.map_tree(some, baseline)


def of_baseline(q: Asked) -> Values:
    """A baseline (B rows, or a background of R) as values at the inputs; token ids by the vectors they look up."""
    sight, ids, base = q.sight, q.entry.ids, q.baseline
    paths = [(*p.path, *path) for p, f in zip(q.entry.points, sight.forms, strict=True) for path in f.paths]
    if not (ids or q.background):
        return Values([_or_zero(trees.get(base, path), trees.get(q.call.inputs, path)) for path in paths])
    met = frozenset[int]().union(*(found.inputs for found in sight.lookups))
    asked = paths + [path for leaf, path in enumerate(ids) if leaf in met]
    given = [t for t in (trees.get(base, path) for path in asked) if isinstance(t, Tensor)]
    rows = len(given[0]) if given else 1 if q.background else q.rows
    if q.background:
        base = _completed(q, base, asked, rows)
    leaves = [_or_zero(trees.get(base, path), trees.get(q.call.inputs, path)) for path in paths]
    if not ids:
        return Values(leaves)
    zero = [trees.get(base, path) is None for path in ids]
    if all(zero[leaf] for leaf in met):
        pairs = zip(sight.lookups, sight.vectors, strict=True)
        return Values(leaves + [_zero_embedding(k, stack(v[:1], rows) if len(v) != rows else v) for k, v in pairs])
    call = q.call.take(torch.arange(rows) % q.rows)
    tokens = trees.map_tree(lambda b, x: x if b is None or b is LEFT_OUT else b, base, call.inputs)
    visit = Visit(q.entry, None, False, False, None)
    forward(replace(call, inputs=tokens), q.of, [visit], grad=False, constants=q.constants)
    q.log.forwarded(rows)
    pairs = zip(sight.lookups, visit.sight.vectors, strict=True)
    sizes = [trees.get(q.call.inputs, path)[0].numel() for path in ids]
    zeroed = torch.tensor(zero).repeat_interleave(torch.tensor(sizes))
    return Values(leaves + [_zero_embedding(k, v, zeroed) for k, v in pairs])


def _or_zero(baseline: Any, x: Tensor) -> Tensor:
    """The baseline of one input; integers that are explained as they are have one of None."""
    return torch.zeros_like(x) if baseline is None else baseline


def _zero_embedding(found: Lookup, vectors: Tensor, zeroed: Tensor | None = None) -> Tensor:
    """Zeros for the tokens of the inputs, or for some of the integers of a row, which `zeroed` (n,) tells.

    What the model puts in itself (a start token) stays as it is.
    """
    own = found.positions < 0
    if zeroed is not None:
        own = own | ~zeroed.to(own.device)[found.positions.clamp(min=0)]
    if not own.any():
        return torch.zeros_like(vectors)
    own = own if len(own) == len(vectors) else own[:1]
    return torch.where(own.reshape(*own.shape, *[1] * (vectors.ndim - own.ndim)), vectors, 0)


def _completed(q: Asked, base: Any, asked: list[trees.Path], rows: int) -> Any:
    """A background with the entries that it leaves out taken from the inputs, which must not differ by row there."""
    for path in asked:
        if trees.get(base, path) is LEFT_OUT:
            t = trees.get(q.call.inputs, path)
            if (t != t[:1]).any():
                given = f"a background without an entry for inputs{trees.spell(path)}, whose rows differ"
                refuse("baseline", given, "an entry for each input that differs from row to row")
            base = trees.put(base, path, stack(t[:1], rows))
    return base


def look_at_baseline(q: Asked) -> tuple[Values, Tensor]:
    """The values at `wrt` for the baseline and the score there, (B,) or (T, B); for a background, the mean score."""
    x0 = q.entry_x0
    if not q.background:
        sight, output = q.passed(x0.map(lambda t: t[None]), 1)
        return sight.values, q.score_of(output, 1).detach()
    rows = x0.leaves[0].shape[0]
    points = x0.map(lambda t: t[:, None].expand(-1, q.rows, *t.shape[1:]))  # every row meets the whole background
    total: Any = 0
    seen: list[Values] = []

    def run(block: Values, k: int) -> tuple[Values, Tensor]:
        sight, output = q.passed(block, k)
        scores = q.score_of(output, k).detach()
        return sight.values.map(lambda t: t.unflatten(0, (k, q.rows))[:, 0]), scores.unflatten(-1, (k, q.rows)).sum(-2)

    for _, _, (values, scores) in q.stream(rows, lambda i, j: points.map(lambda t: t[i:j]), run):
        seen.append(values)
        total = total + scores
    return concat(seen, 0), total / rows


def look_at_both(q: Asked) -> dict[str, Any]:
    """What is known after the scores at the inputs and at the baseline, in one pass where it may have the rows."""
    x0 = q.entry_x0
    if q.budget.points(q.rows, 2) < 2:
        scores, (x0, baseline_scores) = q.scores, look_at_baseline(q)
    else:
        _, output = q.passed(q.x.map(lambda a, b: torch.stack([a, b]), x0), 2)
        q.settle(output)
        scores, baseline_scores = q.score_of(output, 2).detach().unflatten(-1, (2, q.rows)).unbind(-2)
    return {"scores": scores, "baseline scores": baseline_scores, "x0": x0}
