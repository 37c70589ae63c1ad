"""One Attribution from the answers to all blocks of rows, with the evidence beside it."""

from __future__ import annotations

import cmath
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import targets
from . import tree as trees
from .errors import NotFinite, refuse
from .places import row_dims
from .question import Question
from .registry import Card
from .result import Attribution, provenance
from .values import Values, accumulator

CANCELS = (
    "The attributions within each token's vector cancel, so that their sums are rounding errors: a norm after the"
    " embedding does this to gradients. Ask a method that multiplies by the values, such as integrated_gradients."
)


def gathered(
    question: Question, card: Card, answers: list[tuple[Question, Values]], options: dict[str, Any]
) -> Attribution:
    """One Attribution from the answers to all blocks, but for its seconds."""
    scored = "score" in card.needs
    first = answers[0][0]
    lead = first.lead_of(answers[0][1])  # 1 for several targets or neurons
    # the baseline first: its pass takes the inputs along
    compared = "completeness" in card.claims or {"delta", "baseline scores"} <= first.memo.keys()
    base = _over_rows([q.baseline_scores for q, _ in answers]) if compared else None
    scores = _over_rows([q.scores for q, _ in answers]) if scored else None
    own = torch.cat([q.memo["delta"] for q, _ in answers], -1) if "delta" in first.memo else None
    delta = None
    if base is not None and scores is not None and own is None and not (question.wrt.several and "each" in card.claims):
        delta = _over_rows([gap(v, q.scores, q.baseline_scores) for q, v in answers])
    if not sums_up([delta] if delta is not None else [scores, base, *[t for _, v in answers for t in v.leaves]]):
        _check_finite(question, scores, base, [v for _, v in answers])
    dims = row_dims(first.sight) if len(answers) > 1 else 0
    if question.wrt.ids and question.wrt.per_token and any(_cancels(v) for _, v in answers):
        question.log.note(CANCELS)
    trees_ = [q.present(q.told(v.to_dtype_of(q.x)), lead) for q, v in answers]
    drawn = question.call.draws.met
    if drawn:
        question.log.note(question.call.draws.note)
    errors = [q.memo["error"] for q, _ in answers if "error" in q.memo]
    stderr = [q.present(q.memo["stderr"], lead) for q, _ in answers if "stderr" in q.memo]
    return Attribution(
        values=_joined(trees_, lead, dims),
        method=card.name,
        options=card.defaults | options,
        scores=scores,
        baseline_scores=base,
        delta=delta if own is None else own,
        stderr=_joined(stderr, lead, dims) if stderr else None,
        error=_over_rows(errors) if errors else None,
        target=described([q.settled_target if scored else q.target for q, _ in answers]),
        wrt=question.wrt.names[0] if len(question.wrt.names) == 1 else ", ".join(question.wrt.names),
        of=question.of_name,
        seed=question.seed if drawn or "stderr" in first.memo else None,
        rows=question.log.rows,
        batch_size=question.budget.limit,
        notes=list(question.log.notes),
        details=_details(answers, 0 if scores is None else scores.ndim - 1),
        **provenance(question.call.model),
    )


def _details(answers: list[tuple[Question, Values]], lead: int) -> dict[str, Tensor]:
    """What the method found besides, of all blocks: rows end to end, other dimensions as long as the longest."""
    found: dict[str, Tensor] = dict(answers[0][0].memo.get("details", {}))
    for name in found if len(answers) > 1 else ():
        parts = [q.memo["details"][name] for q, _ in answers]
        size = torch.tensor([t.shape[lead + 1 :] for t in parts]).amax(0).tolist()
        for i, t in enumerate(parts):
            short = [s - h for s, h in zip(size, t.shape[lead + 1 :], strict=True)]
            parts[i] = F.pad(t, [p for s in reversed(short) for p in (0, s)])
        found[name] = torch.cat(parts, lead)
    return found


def _over_rows(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _joined(parts: list[Any], lead: int, dims: Any) -> Any:
    """What several blocks of rows gave, laid end to end along the rows."""
    if len(parts) == 1:
        return parts[0]

    def join(d: int, *ts: Any) -> Any:
        return torch.cat(ts, lead + d) if isinstance(ts[0], Tensor) and ts[0].ndim > lead else ts[0]

    return trees.map_tree(join, dims, *parts)


def described(settled: list[Any]) -> Any:
    """The target in terms that JSON can hold."""
    first = settled[0]
    if isinstance(first, Tensor):
        index = torch.cat(settled).tolist()
        return [i[0] if len(i) == 1 else i for i in index]
    if isinstance(first, targets.Each):
        return [described([s.targets[i] for s in settled]) for i in range(len(first.targets))]
    if isinstance(first, targets.Mask):
        return f"mask of shape {tuple(first.where.shape)}"
    if isinstance(first, tuple):
        return [str(i) if isinstance(i, slice) else int(i) for i in first]
    return getattr(first, "__name__", type(first).__name__) if callable(first) else first


def gap(values: Values, scores: Tensor, base: Tensor) -> Tensor:
    """The completeness gap, sum of the values - (f(x) - f(x0)): (B,) or (T, B)."""
    wide = base.to(accumulator(base.dtype))
    return torch.sub(values.rowsum(scores).detach(), scores).add(wide).to(scores.dtype)


def sums_up(parts: list[Tensor | None]) -> bool:
    """Whether the sum of all is finite: then they are. (An infinite sum may have finite terms.)"""
    return cmath.isfinite(sum([(t.sum() if t.numel() > 1 else t).item() for t in parts if t is not None]))


def _is_finite(t: Tensor) -> bool:
    return bool(t.isfinite().all())


def _check_finite(question: Question, scores: Tensor | None, base: Tensor | None, answers: list[Values]) -> None:
    """Refuse NaN and infinity, naming where they come from."""
    given_base = [t for _, t in trees.leaves(question.baseline) if isinstance(t, Tensor)]
    if scores is not None and not _is_finite(scores) and all(map(_is_finite, given_base)):
        _name_the_source(question, scores)
    if base is not None and not _is_finite(base):
        given = "one at which the model's score is not finite"
        refuse("baseline", given, "a baseline that the model can score", kind=NotFinite)
    if not all(_is_finite(t) for v in answers for t in v.leaves):
        given = "an explanation with NaN or infinity, although the scores are finite"
        refuse("inputs or baseline", given, "points at which the gradient is finite", kind=NotFinite)


def _name_the_source(question: Question, scores: Tensor) -> None:
    rows = (~scores.reshape(-1, scores.shape[-1]).isfinite().all(0)).nonzero().flatten().tolist()
    model, inputs = question.call.model, question.call.inputs
    for path, t in trees.leaves(inputs):
        if isinstance(t, Tensor) and not t.isfinite().all():
            refuse("inputs", f"NaN or infinity in inputs{trees.spell(path)}", "finite numbers", kind=NotFinite)
    for name, p in model.named_parameters() if isinstance(model, nn.Module) else ():
        if not p.isfinite().all():
            refuse("model", f"NaN or infinity in its parameter {name!r}", "finite parameters", kind=NotFinite)
    refuse("model", f"NaN or infinity as the score of rows {rows[:8]}", "finite scores", kind=NotFinite)


def _cancels(vectors: Values) -> bool:
    """Whether the sums over the last dimension are no more than the rounding errors of summing."""
    sizes = [(t.sum(-1).abs().max(), t.abs().sum(-1).max()) for t in vectors.leaves if t.numel() and t.ndim > 1]
    return bool(sizes) and all(
        size > 0 and total <= min(64 * torch.finfo(size.dtype).eps, 1e-4) * size for total, size in sizes
    )
