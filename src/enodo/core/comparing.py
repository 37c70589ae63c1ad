"""Rules that compare the inputs with baselines: with one for each row, and with every row of a background."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import entry
from . import tree as trees
from .budget import is_out_of_memory
from .lasting import replace
from .ledger import Ledger, Unpairable
from .pairs import Pairs
from .rules import Rules
from .tables import Table
from .transforms import level, untold
from .values import Values
from .vjp import one_hot, pulled

if TYPE_CHECKING:
    from .glance import Glance
    from .question import Question

Comparison = tuple[Values, Values, Tensor]  # values of k baselines, multipliers, scores: see `crossed`

# A model that fails on other numbers of rows than the inputs', or under torch.vmap. A true error is met again.
_NO_FEWER_ROWS = (Unpairable, RuntimeError, ValueError, IndexError)


def multipliers(q: Question | Glance, table: Table, on_unknown: Any = "error") -> tuple[Values, Values, Values]:
    """The values at `wrt` for the inputs and for the baseline, and the gradient under a table that compares them.

    One pass at the baseline, of which the operations are kept, and one at the inputs. A baseline that all rows share
    goes forward as one row, where the rows of a value can be told.
    """
    if q.rows > 1 and not q.create_graph and q.alike and all(map(_one_for_all, q.entry_x0.leaves)):
        try:
            return _against(q, table, on_unknown, 1)
        except _NO_FEWER_ROWS as error:
            if is_out_of_memory(error):
                raise
    return _against(q, table, on_unknown, q.rows)


def _detached(t: Any) -> Any:
    return t.detach() if isinstance(t, Tensor) else t


def _one_for_all(t: Tensor) -> bool:
    return t.stride(0) == 0 or torch.equal(t[1:], t[:-1])


def _against(q: Question | Glance, table: Table, on_unknown: Any, rows: int) -> tuple[Values, Values, Values]:
    """`multipliers` by a pass at the baseline of all rows, or of one."""
    ledger = Ledger(q.create_graph, q.rows if rows < q.rows else 0)
    x0, output = q.at_baseline(Rules(table, on_unknown=silent(on_unknown), record=ledger), rows)
    output = trees.map_tree(_detached, output)  # lets go of the graph at the baseline, which is no more wanted
    x, g = q.gradient_under(table, on_unknown, ledger)
    if rows < q.rows:
        x0 = x0.map(lambda t, x: t.expand(x.shape), x)
    q.memo.update({"x0": x0, "baseline scores": q.score_of(_for_each(output, rows, q.rows // rows), 1).detach()})
    return x, x0, g


def at_baseline(q: Question, rules: Rules, rows: int) -> tuple[Values, Any]:
    """See `Question.at_baseline`."""
    points = q.entry_x0.map(lambda t: t[None, :rows])
    sight, output = _first(q, rules, rows).passed(points, 1, grad=True, afresh=True)
    return sight.values if q.create_graph else sight.values.map(Tensor.detach), output


def _first(q: Question, rules: Rules, rows: int) -> Question:
    """The question about the first of its rows, under rules."""
    if rows == q.rows:
        return replace(q, rules=rules)
    memo = {"sight": q.memo["sight"]} if "sight" in q.memo else {}
    return replace(q, rules=rules, call=q.call.each(lambda t: t[:rows], rows), memo=memo)


def crossed(q: Question, table: Table, on_unknown: Any = "error") -> Iterator[Comparison]:
    """What is at `wrt` for the background, what a table makes of the gradient of each row against it, and its scores.

    For k of its R rows at a time: values (k, B, ...), or (k, 1, ...) for all rows; multipliers (k, B, ...), or
    (k, T, B, ...) for T targets; scores (k, B) or (k, T, B). B + R rows go forward where B rows fit a pass. What
    cannot be paired so (arguments that differ from row to row, batch statistics, rows that a model takes apart) goes
    forward pair by pair.
    """
    size, done = len(q.entry_x0.leaves[0]), 0
    # rules that tell each other something in the forward pass cannot wait
    waits = table.trail is None and not q.create_graph
    if size > 1 and q.rows * size > 2 and waits and q.alike:
        try:
            for found in _in_crossed_passes(q, table, on_unknown):
                yield found
                done += len(found[0].leaves[0])
        except _NO_FEWER_ROWS as error:
            if is_out_of_memory(error):
                raise
    for r in range(done, size):
        x0, m, scores = _one_by_one(q, table, on_unknown, r)
        yield x0.map(lambda t: t[None]), m.map(lambda t: t[None]), scores[None]


def _one_by_one(q: Question, table: Table, on_unknown: Any, r: int) -> Comparison:
    """All rows against one of the background: values (B, ...), multipliers, scores (B,)."""
    size = len(q.entry_x0.leaves[0])
    baseline = entry.take_baseline(q.baseline, size, torch.full((q.rows,), r))
    part = replace(q, baseline=baseline, background=False, target=q.settled_target, memo={})
    _, x0, m = multipliers(part, table, on_unknown)
    q.memo.update({name: part.memo[name] for name in ("sight", "x", "scores")})
    return x0, m, part.baseline_scores


def alike(q: Question) -> bool:
    """See `Question.alike`."""
    if q.call.state.training:
        return False
    if q.rows == 1 or (isinstance(q.call.inputs, Tensor) and not (q.entry.ids or q.call.args or q.call.kwargs)):
        return True
    forms = zip(q.entry.points, q.at_entry.sight.forms, strict=True)
    free = {(*p.path, *path) for p, form in forms for path in form.paths}
    rest = [t for path, t in trees.leaves(q.call.inputs) if path not in free]
    rest += [t for tree in (q.call.args, dict(q.call.kwargs)) for _, t in trees.leaves(tree)]
    rows = [t for t in rest if isinstance(t, Tensor) and t.ndim and len(t) == q.rows]
    return all(bool((t == t[:1]).all()) for t in rows)


def _in_crossed_passes(q: Question, table: Table, on_unknown: Any) -> Iterator[Comparison]:
    """One pass for all rows, passes for the background, and passes back for as many pairs as a pass may have rows."""
    pairs = Pairs(q.rows)
    here = replace(q, rules=Rules(table, on_unknown=on_unknown, pairs=pairs))
    sight, output = here._at_inputs(grad=True)
    scores = here._remember(sight, output)
    size, done = len(q.entry_x0.leaves[0]), 0
    while done < size:
        n = q.budget.pairs(1, size - done)
        n -= n == q.rows > 1  # so that it can be told where the rows of a value lie
        ledger = Ledger()
        points = q.entry_x0.map(lambda t, i, j: t[i:j, None], done, done + n)
        rules = Rules(table, on_unknown=silent(on_unknown), record=ledger, beside=pairs.here)
        sight0, output0 = _first(q, rules, 1).passed(points, n, grad=True, afresh=True)
        pairs.meet(ledger, n)
        x0, base = sight0.values.map(Tensor.detach), _scored(q, output0, n)
        del sight0, output0  # and with them the graph at the baselines
        start = 0
        while start < n:
            k = q.budget.pairs(q.rows, n - start)
            q.budget.tried = k * q.rows
            m = _pulled(here, pairs, scores, sight.values, range(start, start + k))
            if pairs.layout.merged and not start + done:
                _try_one(q, table, m)
            yield x0.map(lambda t, i, j: t[i:j, None], start, start + k), m, base[start : start + k]
            start += k
        done += n


def silent(on_unknown: Any) -> Any:
    """For passes beside the one under rules: what is unknown is told once."""
    return on_unknown if on_unknown == "error" else lambda name, spot: None


def _scored(q: Question, output: Any, n: int) -> Tensor:
    """The scores (n, B) or (n, T, B) of n baselines, each asked for the target of every row."""
    scores = q.score_of(_for_each(output, n, q.rows), n).detach()
    return scores.view(*scores.shape[:-1], n, q.rows).movedim(-2, 0)


def _for_each(output: Any, n: int, rows: int) -> Any:
    """An output of n rows with each of them this often, one after the other."""

    def spread(t: Any) -> Any:
        if not isinstance(t, Tensor) or not t.ndim or len(t) != n:
            return t
        return t.detach().repeat_interleave(rows, 0) if n > 1 else t.detach().expand(rows, *t.shape[1:])

    return output if rows == 1 else trees.map_tree(spread, output)


def _pulled(q: Question, pairs: Pairs, scores: Tensor, x: Values, which: range) -> Values:
    """What the rules make of the gradients of the scores (B,) or (T, B), for each of the baselines `which`."""
    seeds = one_hot(scores) if scores.ndim > 1 else torch.ones_like(scores)
    at_once = q.budget.parallel_targets(len(which) * q.rows)
    layout = pairs.layout
    layout.index, layout.level = which, 0
    if len(which) == 1:
        alone = pulled([scores], x, [seeds], at_once * (scores.ndim - 1), False, keep=True)
        return q._filled(alone, x, scores.shape[:-1]).map(lambda t: t[None])
    unused: set[int] = set()

    def one(seed: Tensor) -> tuple[Tensor, ...]:
        found = torch.autograd.grad(scores, x.leaves, seed, retain_graph=True, allow_unused=True)
        unused.update(i for i, g in enumerate(found) if g is None)
        return tuple(torch.zeros_like(t) if g is None else g for g, t in zip(found, x.leaves, strict=True))

    def against(index: Tensor, seed: Tensor) -> tuple[Tensor, ...]:
        layout.level = level()
        return one(seed) if scores.ndim == 1 else torch.func.vmap(one)(seed)

    every = torch.func.vmap(against, (0, None))
    indices = torch.arange(which.start, which.stop, device=scores.device)
    with untold:
        parts = [every(indices, some) for some in (seeds.split(at_once) if scores.ndim > 1 else [seeds])]
    found = [torch.cat(leaf, 1) if len(leaf) > 1 else leaf[0] for leaf in zip(*parts, strict=True)]
    leaves: list[Tensor | None] = [None if i in unused else g for i, g in enumerate(found)]
    return q._filled(leaves, x, torch.Size([len(which), *scores.shape[:-1]]))


def _try_one(q: Question, table: Table, m: Values) -> None:
    """Where rows share a dimension with others, that they are the outer ones is taken for granted: see for one pair."""
    _, true, _ = _one_by_one(q.take(torch.tensor([q.rows - 1])), table, "warn", len(m.leaves[0]) - 1)
    row = int(q.many)
    for found, t in zip(m.leaves, true.leaves, strict=True):
        a, b = found[-1].select(row, -1), t.select(row, 0)
        if (a - b).norm() > torch.finfo(b.dtype).eps ** 0.25 * b.norm():
            raise Unpairable("rows that are not the outer ones of the dimensions they share")
