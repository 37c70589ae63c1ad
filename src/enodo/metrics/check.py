"""`Attribution.check`: the measures that cost little, each in plain words with its numbers, and no sum of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enodo.core import targets
from enodo.core import tree as trees
from enodo.core.errors import BadArgument, BadType, refuse
from enodo.core.explain import answered, ask
from enodo.core.registry import Card
from enodo.core.result import Attribution
from enodo.core.values import Values

from .agreement import Agreement, agreement
from .removal import Curve, Curves, curves

LOOSE = 0.05  # share of the score difference from which a completeness gap is called large
NOISY = 0.5  # standard error of a typical value, as a share of it, from which the details are called noise
SAME = 1e-3  # relative difference of two scores that are called the same
STEPS, DRAWS = 10, 10


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what it says in a sentence or two, its numbers, and whether it speaks for trust."""

    about: str
    speaks_for: bool | None  # None where it does neither
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What `Attribution.check` found; `print` it to read the sentences."""

    findings: tuple[Finding, ...]
    curves: Curves | None = None
    agreements: tuple[Agreement, ...] = ()

    def __str__(self) -> str:
        marks = {True: "+", False: "-", None: " "}
        return "\n".join(f"{marks[f.speaks_for]} {f.text}" for f in self.findings)

    __repr__ = __str__

    def __getitem__(self, about: str) -> Finding:
        """The finding about "score", "completeness", "settling", "sampling", "deletion", "insertion", ..."""
        known = {f.about: f for f in self.findings}
        if about not in known:
            refuse("about", repr(about), f"one of {', '.join(known)}")
        return known[about]


def check(
    attribution: Attribution,
    model: Callable[..., Any],
    inputs: Any,
    *others: Attribution,
    target: Any = "as explained",
    baseline: Any = None,
    wrt: Any = None,
    of: Any = None,
    steps: int = STEPS,
    draws: int = DRAWS,
    **terms: Any,
) -> Check:
    """How far an attribution can be trusted: see `Attribution.check`."""
    if not isinstance(attribution, Attribution):
        refuse("attribution", attribution, "an Attribution", kind=BadType)
    where = {
        "wrt": wrt if wrt is not None else _places(attribution.wrt),
        "of": of if of is not None else attribution.of,
    }
    terms = {"seed": attribution.seed or 0} | terms  # of a model that draws random numbers, the same draw
    shared = {k: v for k, v in terms.items() if k in ("args", "kwargs", "batch_size", "seed")}
    goal, scores = _recognised(attribution, model, inputs, target, {**shared, **where})
    found = [*_same_score(attribution, scores), *carried(attribution)]
    zero = all(not bool(t.any()) for _, t in trees.leaves(attribution.values) if isinstance(t, Tensor))
    cut = None
    if zero:
        found.append(
            Finding("emptiness", False, "Every value is zero: this method found nothing that moved the score.")
        )
    else:
        cut = curves(
            model, inputs, attribution, target=goal, baseline=baseline, steps=steps, draws=draws, **where, **terms
        )[0]
        unit = "the probability" if terms.get("probability") else "the score"
        found += [removed(cut.deletion, unit), removed(cut.insertion, unit)]
    agreed = tuple(agreement(attribution, other) for other in others)
    found += [agrees(a, other.method) for a, other in zip(agreed, others, strict=True)]
    return Check(tuple(found), cut, agreed)


def _places(wrt: str) -> Any:
    names = wrt.split(", ")
    return names if len(names) > 1 else wrt


def _recognised(
    a: Attribution, model: Callable[..., Any], inputs: Any, target: Any, terms: Mapping[str, Any]
) -> tuple[Any, Tensor]:
    """The target, from what the result tells of it, and the scores that the model gives now."""
    goals = [target]
    if isinstance(target, str) and target == "as explained":
        goals = _spelt(a.target)
    fitting = [found for goal in goals if (found := _tried(model, inputs, goal, terms, len(goals) == 1)) is not None]
    if not fitting:
        given = f"an attribution that knows its target only as {a.target!r}"
        refuse("target", given, "the target that it explains", "Write check(model, inputs, target=...).")
    same = [(g, s) for g, s in fitting if a.scores is None or (a.scores.shape == s.shape and _close(a.scores, s))]
    return (same or fitting)[0]


def _tried(
    model: Callable[..., Any], inputs: Any, goal: Any, terms: Mapping[str, Any], alone: bool
) -> tuple[Any, Tensor] | None:
    """A target with its scores; None where it is one of several guesses, and refused."""
    try:
        return goal, scores_at(model, inputs, goal, **terms)
    except BadArgument:
        if alone:
            raise
        return None


def scores_at(model: Callable[..., Any], inputs: Any, target: Any, **terms: Any) -> Tensor:
    """The scores of the rows, (B,) or (T, B), no pass being larger than it may be."""
    q = ask(model, inputs, target=target, needs=frozenset({"gradient", "score"}), **terms)
    card = Card("scores", lambda block: Values([block.scores]), needs=frozenset())
    return torch.cat([v.leaves[0] for _, v in answered(q, card, {})], -1)


def _spelt(target: Any) -> list[Any]:
    """What `Attribution.target` may stand for; a list of ints may be one a row, or one a dimension."""
    if isinstance(target, list) and all(isinstance(t, int) for t in target):
        return [target, tuple(target)]
    if isinstance(target, list) and all(isinstance(t, list) and len(t) == 1 for t in target):
        return [targets.Each([t[0] for t in target])]
    if isinstance(target, list) and all(isinstance(t, list) and all(isinstance(i, int) for i in t) for t in target):
        return [[tuple(t) for t in target], targets.Each(target), targets.Each([tuple(t) for t in target])]
    known = target is None or (isinstance(target, str) and target in ("all", "predicted"))
    return [target] if known else []


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.detach().cpu().double(), b.detach().cpu().double(), rtol=SAME, atol=SAME)


def _same_score(a: Attribution, scores: Tensor) -> list[Finding]:
    """Whether this is the model, and these the inputs, that were explained."""
    if a.scores is None:
        return []
    told = {"then": a.scores, "now": scores}
    if a.scores.shape != scores.shape:
        text = (
            f"The scores have shape {tuple(scores.shape)} now and had {tuple(a.scores.shape)} when this was explained"
        )
    elif _close(a.scores, scores):
        several = " on average" if scores.numel() > 1 else ""
        text = f"The model still gives the score that was explained: {_mean(scores)}{several}."
        return [Finding("score", None, text, told)]
    else:
        text = f"The model gives {_mean(scores)} now and gave {_mean(a.scores)} when this was explained"
    return [Finding("score", False, f"{text}: the model, the inputs or the target are other ones.", told)]


ROUNDING = 1e-12  # of float64: a share that is none
LARGE = (
    " That is a large gap: take more steps or samples before you rely on details. If it stays, what the model computes"
    " passes gradients by (values detached, or read as numbers by .item()): enodo.audit(model, inputs) lists it."
)


def carried(a: Attribution) -> list[Finding]:
    """What the result itself carries, in words: completeness, settling, sampling."""
    found = []
    if a.delta is not None and a.scores is not None and a.baseline_scores is not None:
        way = (a.scores - a.baseline_scores).double()
        share = (a.delta.double().abs() / way.abs()).nan_to_num(0.0, posinf=float("inf"))
        worst = float(share.max())
        good = worst <= LOOSE
        text = f"The parts add up to the change of the score ({_mean(way)}) but for {_percent(worst)} of it"
        text += "." if share.numel() == 1 else ", in the worst row."
        text += "" if good else LARGE
        found.append(Finding("completeness", good, text, {"gap": a.delta, "share": share}))
    elif a.scores is not None:
        text = "This method does not promise parts that add up to the score: read which stand out, not their sum."
        found.append(Finding("completeness", None, text))
    size, error = _typical(a.values), _typical(a.stderr)
    if a.error is not None:
        worst = float(a.error.max())
        text = f"At the last refinement the values still changed by {_percent(worst)}."
        if error is not None:
            wide = f"The 95 % interval of each value is at most {_percent(worst)} of the largest value to either side."
            text = wide if worst else "Nothing was left to chance."
        found.append(Finding("settling", worst <= LOOSE, text, {"error": a.error}))
    if error and size:
        text = f"Drawn by chance: the standard error of a typical value is {_percent(error / size)} of it."
        found.append(Finding("sampling", error / size <= NOISY, text, {"share": error / size}))
    return found


def removed(curve: Curve, unit: str = "the score") -> Finding:
    """A deletion or insertion curve beside its random orders, in words."""
    own, control, draws = curve.area, curve.control_area, len(curve.control)
    spread = control.std(0) if draws > 1 else torch.zeros_like(own)
    ahead, behind = curve.beaten == 1, curve.beaten <= 0.5
    good = True if ahead.all() else False if behind.all() else None
    way = {
        "deletion": "as parts are taken away, those it ranks first before the others",
        "insertion": "as parts are put back, those it ranks first before the others",
    }[curve.kind]
    text = (
        f"{curve.kind.capitalize()}: {way}, {unit} is {_mean(own)} on average along the way; "
        f"in random order {_mean(control)} \u00b1 {_mean(spread)}. "
    )
    if own.numel() > 1:
        text += f"Better than all {draws} random orders in {int(ahead.sum())} of {own.numel()}, "
        text += f"no better than most of them in {int(behind.sum())}."
    elif good:
        text += f"That is better than all {draws} random orders."
    else:
        text += f"That is better than {float(curve.beaten) * draws:g} of {draws} random orders"
        text += "." if good is None else ": do not rely on the order of its parts."
    numbers = {"area": own, "control": control, "beaten": curve.beaten}
    return Finding(curve.kind, good, text, numbers)


def agrees(found: Agreement, name: str) -> Finding:
    """An agreement with another method, in words."""
    correlation, overlap = found.correlation.nanmean(), float(found.overlap.mean())
    text = (
        f"Beside {name}: rank correlation {float(correlation):+.2f}; of the {found.k} strongest features of each, "
        f"{_percent(overlap)} are the same (by chance {_percent(found.chance)})."
    )
    good = True if overlap >= (1 + found.chance) / 2 else False if overlap <= found.chance else None
    return Finding(f"agreement with {name}", good, text, {"correlation": found.correlation, "overlap": found.overlap})


def _typical(tree: Any) -> float | None:
    """The mean size of the values of a structure, None where there is none."""
    found = [t.detach().abs().double().flatten() for _, t in trees.leaves(tree) if isinstance(t, Tensor)]
    return float(torch.cat(found).mean()) if found else None


def _mean(t: Tensor) -> str:
    return f"{float(t.double().mean()):.3g}".replace("-", "\u2212")


def _percent(share: float) -> str:
    if share < ROUNDING or share == float("inf"):
        return "all" if share > 1 else "none"
    return "less than 0.01%" if share < 1e-4 else f"{share:.2%}" if share < 0.1 else f"{share:.0%}"
