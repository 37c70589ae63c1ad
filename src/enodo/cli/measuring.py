"""The evidence beside a run: deletion and insertion curves of every method, and how far the methods agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from enodo.cli.progress import progress_bar
from enodo.cli.request import Request
from enodo.cli.run import Run
from enodo.core.errors import about, refuse
from enodo.io.parts import cut
from enodo.io.subject import ABSENCES
from enodo.metrics import agreements, by_feature, curves
from enodo.show.evidence import Agreed, Evidence, Way
from enodo.show.html import Entry
from enodo.show.view import row_of
from enodo.show.words import is_signed


def measured(
    run: Run,
    request: Request,
    parts: str | None,
    removal: Sequence[str] | None,
    points: int,
    draws: int,
    own_scale: bool,
) -> Run:
    """The run with its evidence; methods whose values lie at a layer that is no map of the input have none."""
    with about("--parts"):
        taken = cut(parts, run.example)
    subject, example = run.subject, run.example
    found: dict[str, Evidence] = {}
    with progress_bar(request.progress) as bar:
        for goal, name in zip(run.targets, dict.fromkeys(e.answer for e in run.entries), strict=True):
            entries = [e for e in run.entries if e.answer == name and _is_about_parts(e, run)]
            if not entries:
                continue
            image = subject.kind == "image"  # elsewhere what a part has is shared among its values, and adds up
            given = [e.attribution if image else e.attribution.values for e in entries]
            shown = bool(subject.classes) and run.of == "OUTPUT" and isinstance(goal, int)
            terms: dict[str, Any] = {
                "target": goal,
                "features": taken.features,
                "kwargs": example.kwargs,
                "batch_size": request.limit,
                "of": run.of,
            }
            ways = []
            for chosen in removal or _ways(run, request):
                with about("--removal"):
                    reference, words = subject.absence(chosen, example)
                made = curves(
                    subject.model, example.inputs, *given, baseline=reference, steps=points, draws=draws,
                    probability=shown, seed=request.seed, progress=bar(f"curves, {words}"), **terms,
                )  # fmt: skip
                ways.append(Way(words, made))
            totals = by_feature(subject.model, example.inputs, *given, **terms)
            unit = "probability" if shown else subject.unit or "score"
            found[name] = Evidence(
                [e.title for e in entries], ways, agreed(totals, all(map(_has_sign, entries))), taken.words, unit
            )
    if removal and not found:
        refuse("--removal", ", ".join(removal), "a method whose parts are those of the input")
    return replace(run, evidence=found, one_scale=not own_scale, compared=True)


def _is_about_parts(entry: Entry, run: Run) -> bool:
    """Whether an attribution says something about each part of the input: one of the input, or a map of a picture."""
    a, x = entry.attribution, run.example.inputs
    if a.wrt.split("[", 1)[0] in ("INPUT",):
        return True
    return run.example.sample.kind == "image" and a.tensor.ndim == 4 and len(a.tensor) == len(x)


def _ways(run: Run, request: Request) -> list[str | None]:
    """What stands in for parts where nobody says: the baseline, and a second that tells whether that matters."""
    second = {"image": "blur", "text": "dropped"}.get(run.subject.kind)
    known = {**run.subject.baselines, **ABSENCES.get(run.subject.kind, {})}
    if second not in known or second == request.baseline or (second == "dropped" and not run.example.kwargs):
        return [request.baseline]
    return [request.baseline, second]


def _has_sign(entry: Entry) -> bool:
    return is_signed(entry.attribution, row_of(entry.attribution, 0))


def agreed(totals: Sequence[torch.Tensor], signed: bool = True) -> Agreed | None:
    """How far the methods agree about the parts; of sizes only, where a method has no sign."""
    if len(totals) < 2:
        return None
    n = totals[0].shape[-1]
    k = min(n, max(3, min(10, n // 10)))
    correlation, overlap = agreements(totals, k=k, absolute=not signed)
    return Agreed(correlation[..., 0].numpy(), overlap[..., 0].numpy(), k, k / n, not signed)
