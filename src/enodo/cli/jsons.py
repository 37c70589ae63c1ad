"""The JSON of a run. `schema` names its form; a change that could break a reader changes that name."""

from __future__ import annotations

from typing import Any

import torch

from enodo.cli.run import Run
from enodo.core import tree as trees
from enodo.metrics import Curve
from enodo.show.evidence import Evidence
from enodo.show.html import Entry
from enodo.show.tokens import Words
from enodo.show.view import Map, view_of
from enodo.show.words import scalar

SCHEMA = "enodo.explanation/1"
MOST = 10_000  # numbers of an attribution that are printed; more are for --out result.safetensors


def as_json(run: Run) -> dict[str, Any]:
    """Everything a report tells, as plain values."""
    subject, sample = run.subject, run.example.sample
    return {
        "schema": SCHEMA,
        "model": {"name": subject.name, "title": subject.title, "facts": subject.facts, "unit": subject.unit or None},
        "input": {"title": sample.title, "kind": sample.kind, "note": sample.note or None, "truth": sample.truth},
        "prediction": [{"name": a.name, "score": a.score, "probability": a.probability} for a in run.answers],
        "target": {"index": run.targets[0], "name": _name(run, 0)},
        "targets": [{"index": goal, "name": _name(run, i)} for i, goal in enumerate(run.targets)],
        "explanations": [_entry(entry, run) for entry in run.entries],
        "evidence": [_evidence(name, e) for name, e in run.evidence.items()],
        "versions": run.entries[0].attribution.versions,
        "command": run.command,
    }


def _entry(entry: Entry, run: Run) -> dict[str, Any]:
    a = entry.attribution
    arrays = {
        trees.spell(path) or "value": leaf for path, leaf in trees.leaves(a.values) if isinstance(leaf, torch.Tensor)
    }
    small = sum(t.numel() for t in arrays.values()) <= MOST
    return {
        "method": a.method,
        "title": entry.title,
        "target": run.targets[_number(entry, run)],
        "options": a.options,
        "baseline": entry.baseline or None,
        "wrt": a.wrt,
        "of": a.of,
        "score": scalar(a.scores),
        "baseline_score": scalar(a.baseline_scores),
        "gap": scalar(a.delta),
        "error": scalar(a.error),
        "seed": a.seed,
        "seconds": round(a.seconds, 4),
        "rows": a.rows,
        "batch_size": a.batch_size,
        "notes": a.notes,
        "shape": {name: list(t.shape) for name, t in arrays.items()},
        "features": _features(entry, run),
        "values": {name: t.tolist() for name, t in arrays.items()} if small else None,
    }


def _number(entry: Entry, run: Run) -> int:
    """Which of the targets an entry explains."""
    return list(dict.fromkeys(e.answer for e in run.entries)).index(entry.answer)


def _name(run: Run, number: int) -> str | None:
    """The name of a target, where its answer has one."""
    told = list(dict.fromkeys(e.answer for e in run.entries))[number]
    return told or next((a.name for a in run.answers if a.explained), None)


def _evidence(name: str, evidence: Evidence) -> dict[str, Any]:
    """The areas and curves of each method, beside those of random orders, and how far methods agree."""
    agreed = evidence.agreed
    return {
        "target": name or None,
        "parts": evidence.parts,
        "unit": evidence.unit,
        "methods": list(evidence.names),
        "removals": [
            {"words": way.words, **{k: [_curve(getattr(c, k)) for c in way.curves] for k in ("deletion", "insertion")}}
            for way in evidence.ways
        ],
        "agreement": agreed
        and {
            "rank_correlation": [[None if v != v else v for v in row] for row in agreed.correlation.tolist()],
            "overlap": agreed.overlap.tolist(),
            "strongest": agreed.k,
            "overlap_by_chance": agreed.chance,
            "of_sizes": agreed.sizes,
        },
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "area": float(curve.area[0]),
        "random_areas": curve.control_area[:, 0].tolist(),
        "better_than_random": float(curve.beaten[0]),
        "fractions": curve.fractions[0].tolist(),
        "scores": curve.scores[0].tolist(),
    }


def _features(entry: Entry, run: Run) -> list[dict[str, Any]] | None:
    """Words or named features with their attributions; None for a picture and for long lists of numbers."""
    view = view_of(entry.attribution, run.example.sample)
    if isinstance(view, Map) or len(view.values) > MOST:
        return None
    if isinstance(view, Words):
        return [
            {"name": word, "value": None, "attribution": float(v)}
            for word, v in zip(view.words, view.values, strict=True)
        ]
    rows = zip(view.names, view.cells, view.values, strict=True)
    return [{"name": name, "value": cell or None, "attribution": float(v)} for name, cell, v in rows]
