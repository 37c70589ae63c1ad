"""Methods side by side on the terminal: their numbers on one scale, and what tells how far each can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from enodo.cli.console import output
from enodo.cli.run import Run
from enodo.cli.terminal import SHOWN, explained, print_answers, print_map
from enodo.metrics import Curve
from enodo.show.evidence import Evidence, signed
from enodo.show.html import Entry, short
from enodo.show.scale import number
from enodo.show.tokens import Words
from enodo.show.view import Bars, Map, view_of
from enodo.show.words import is_signed, scalar, share_of, unit_of


def print_compared(run: Run) -> None:
    """Print the methods of each answer side by side, and the evidence."""
    console = output()
    print_answers(console, run)
    for name in dict.fromkeys(e.answer for e in run.entries):
        entries = [e for e in run.entries if e.answer == name]
        console.print()
        console.print(f"Why {short(explained(run, entries[0]))}", style="bold", markup=False)
        _values(console, run, entries)
        _gaps(console, entries)
        if name in run.evidence:
            _evidence(console, run.evidence[name])


def _values(console: Console, run: Run, entries: Sequence[Entry]) -> None:
    """The strongest words or columns with the number of each method; of maps where they are strongest."""
    views = [view_of(e.attribution, run.example.sample) for e in entries]
    for entry, view in zip(entries, views, strict=True):
        if isinstance(view, Map):
            console.print(entry.title, style="bold", markup=False)
            print_map(console, view, is_signed(entry.attribution, view.values))
    groups: dict[tuple[str, ...], list[tuple[Entry, Bars]]] = {}
    for entry, view in zip(entries, views, strict=True):
        if not isinstance(view, Map):
            rows = _own_words(view) if isinstance(view, Words) else view
            groups.setdefault(tuple(rows.names), []).append((entry, rows))
    for names, found in groups.items():
        _table(console, run, list(names), found)


def _own_words(view: Words) -> Bars:
    """The words of the text itself, without the tokens that a tokenizer adds, which methods differ in."""
    own = [i for i, added in enumerate(view.special) if not added]
    return Bars([view.words[i] for i in own], [""] * len(own), view.values[own])


def _table(console: Console, run: Run, names: list[str], found: list[tuple[Entry, Bars]]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("word" if run.example.sample.kind == "text" else "feature", overflow="fold")
    cells = found[0][1].cells
    if any(cells):
        table.add_column("value", justify="right")
    for entry, _ in found:
        table.add_column(entry.title, justify="right")
    values = np.stack([view.values for _, view in found], 1)  # (names, methods)
    largest = np.abs(values).max(0)
    order = np.argsort(-(np.abs(values) / np.where(largest > 0, largest, 1)).max(1), kind="stable")
    for i in order[:SHOWN]:
        shown = [Text(names[i])] + ([Text(cells[i])] if any(cells) else [])
        table.add_row(
            *shown,
            *(Text(number(float(v)), "bold" if abs(v) == m else "") for v, m in zip(values[i], largest, strict=True)),
        )
    console.print(table)
    units = dict.fromkeys(unit_of(e.attribution, run.subject.unit) for e, _ in found)
    rest = f"; and {len(order) - SHOWN} weaker ones" if len(order) > SHOWN else ""
    console.print(f"in {', '.join(units)}{rest}", style="dim", markup=False)


def _gaps(console: Console, entries: Sequence[Entry]) -> None:
    """One line a method: how far its parts are from adding up, what it cost, what is to be noted."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("method", "gap", "seconds", "rows"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for entry in entries:
        a = entry.attribution
        score, start, gap = (scalar(v) for v in (a.scores, a.baseline_scores, a.delta))
        left = "-" if score is None or start is None or gap is None else share_of(gap, score - start)
        table.add_row(Text(entry.title), left, f"{a.seconds:.2f}", f"{a.rows:,}")
    console.print()
    console.print(table)
    for note in dict.fromkeys(note for entry in entries for note in entry.attribution.notes):
        console.print(note, style="dim", markup=False)


def _evidence(console: Console, evidence: Evidence) -> None:
    for way in evidence.ways:
        console.print()
        told = f"Mean {evidence.unit} as {evidence.parts} are replaced by {way.words}"
        console.print(told, style="bold", markup=False)
        table = Table(box=None, pad_edge=False, show_edge=False)
        for name in ("method", "taking away", "better than random", "putting back", "better than random"):
            table.add_column(name, justify="left" if name == "method" else "right")
        for name, curves in zip(evidence.names, way.curves, strict=True):
            table.add_row(Text(name), *_area(curves.deletion), *_area(curves.insertion))
        table.add_row("random order", _random(way.curves[0].deletion), "", _random(way.curves[0].insertion), "")
        console.print(table)
    console.print("taking away: low is good; putting back: high is good", style="dim")
    found = evidence.agreed
    if found is None:
        return
    console.print()
    told = f"Agreement: rank correlation | shared among the {found.k} strongest (by chance {found.chance:.0%})"
    console.print(told, style="bold", markup=False)
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("")
    for name in evidence.names:
        table.add_column(name, justify="right")
    for i, name in enumerate(evidence.names):
        cells = [
            "" if i == j else f"{signed(found.correlation[i, j])} | {found.overlap[i, j]:.0%}"
            for j in range(len(evidence.names))
        ]
        table.add_row(Text(name), *cells)
    console.print(table)


def _area(curve: Curve) -> tuple[str, str]:
    draws = len(curve.control)
    return number(float(curve.area[0]), False), f"{float(curve.beaten[0]) * draws:g} of {draws}"


def _random(curve: Curve) -> str:
    area = curve.control_area[:, 0]
    return f"{number(float(area.mean()), False)} \u00b1 {number(float(area.std()) if len(area) > 1 else 0.0, False)}"
