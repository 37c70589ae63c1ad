"""A run on the terminal: the answer, then each method's words, bars or map, with colours where they are wanted."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from enodo.cli.console import output
from enodo.cli.run import Run
from enodo.core.features import Features
from enodo.show.html import Entry, number_with, short
from enodo.show.scale import AGAINST, FOR, number, overlay, paint, scale_of
from enodo.show.tokens import Words
from enodo.show.view import Bars, Map, regions, resize, view_of
from enodo.show.words import balance, is_signed, noise, rows_told, settled, unit_of

SHOWN, WIDTH, SIDE = 12, 24, 32


def print_run(run: Run, hint: bool = True) -> None:
    """Print the run to standard output, with a `hint` on how to get pictures."""
    console = output()
    print_answers(console, run)
    sample, subject = run.example.sample, run.subject
    for entry in run.entries:
        a = entry.attribution
        view = view_of(a, sample)
        console.print()
        compared = f", compared with {entry.baseline}" if entry.baseline else ""
        parts = a.options.get("features")
        name, of = explained(run, entry), f", taken apart into {parts}" if isinstance(parts, Features) else ""
        console.print(f"{entry.title}: {short(name)}{compared}{of}", style="bold", markup=False)
        if isinstance(view, Words):
            _words(console, view, unit_of(a, subject.unit), is_signed(a, view.values))
        elif isinstance(view, Bars):
            _bars(console, view, unit_of(a, subject.unit), is_signed(a, view.values))
        else:
            print_map(console, view, is_signed(a, view.values))
            if hint:
                console.print("for a picture: --out report.html", style="dim")
        for note in (balance(a, short(name), entry.baseline, subject.unit), settled(a), noise(a), *a.notes):
            if note:
                console.print(note, style="dim", markup=False)
        console.print(f"{a.seconds:.2f} s, {rows_told(a.rows)} through the model", style="dim", markup=False)


def print_answers(console: Console, run: Run) -> None:
    """What the model answered."""
    sample, subject = run.example.sample, run.subject
    console.print(f"{subject.title or subject.name}: {sample.title}", style="bold", markup=False)
    for answer in run.answers:
        share = answer.probability
        told = f"{share:6.1%}" if share is not None else number_with(answer.score, subject.unit)
        style = "bold" if answer.explained else None
        console.print(f" {'->' if answer.explained else '  '} {told}  {answer.name}", style=style, markup=False)
    if sample.note:
        console.print(f"    {sample.note}", style="dim", markup=False)
    if sample.truth is not None:
        console.print(f"    recorded answer: {sample.truth}", markup=False)


def explained(run: Run, entry: Entry) -> str:
    """The name of the answer that an entry explains."""
    return entry.answer or next(a.name for a in run.answers if a.explained)


def _words(console: Console, view: Words, unit: str, signed: bool) -> None:
    scale = scale_of(view.values, 0.0, signed)
    line = Text()
    for word, lead, value in zip(view.words, view.leads, view.values, strict=True):
        line.append(lead)
        share = float(scale.share(np.array(value)))
        line.append(word, _style(share) if abs(share) >= 0.05 else "")
    line.append(view.after, "dim")
    console.print(line)
    order = np.argsort(-np.abs(view.values), kind="stable")[:SHOWN]
    _bars(console, Bars([view.words[i] for i in order], [""] * len(order), view.values[order]), unit, signed, "word")


def _style(share: float) -> str:
    """A ground between white and red or blue, with black letters; what is against is underlined."""
    end = np.array(FOR if share > 0 else AGAINST)
    red, green, blue = (255 + (end - 255) * min(1.0, abs(share)) * 0.75).astype(int)
    return f"{'underline ' if share < 0 else ''}#000000 on #{red:02x}{green:02x}{blue:02x}"


def _bars(console: Console, view: Bars, unit: str, signed: bool, what: str = "feature") -> None:
    scale = scale_of(view.values, 0.0, signed)
    order = np.argsort(-np.abs(view.values), kind="stable")
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column(what, overflow="fold")
    if any(view.cells):
        table.add_column("value", justify="right")
    table.add_column(unit, justify="right")
    table.add_column("against | for" if signed else "strength", justify="left", no_wrap=True)
    for i in order[:SHOWN]:
        share = float(scale.share(np.array(view.values[i])))
        cells = [Text(view.names[i])] + ([Text(view.cells[i])] if any(view.cells) else [])
        table.add_row(*cells, number(float(view.values[i])), _bar(share, signed))
    console.print(table)
    rest = order[SHOWN:]
    if len(rest):
        console.print(f"and {len(rest)} weaker ones, together {number(float(view.values[rest].sum()))}", style="dim")


def _bar(share: float, signed: bool) -> Text:
    filled = round(abs(share) * WIDTH / 2)
    half = WIDTH // 2
    if not signed:
        return Text("\u2588" * (2 * filled))
    left = " " * (half - filled) + "\u2588" * filled if share < 0 else " " * half
    right = "\u2588" * filled if share >= 0 else ""
    return Text.assemble((left, "rgb(70,140,210)"), "|", (right, "rgb(214,72,84)"))


def print_map(console: Console, view: Map, signed: bool) -> None:
    """The map in half blocks where there are colours; and where the strongest square lies, in words, always."""
    coarse = regions(view.values, SIDE)
    if console.color_system in ("truecolor", "256"):
        scale = scale_of(coarse, 0.02, signed)
        if view.photo is not None:
            small = np.stack([resize(view.photo[..., c].astype(float), coarse.shape) for c in range(3)], axis=2)
            pixels = overlay(coarse, small.clip(0, 255), scale)
        else:
            pixels = paint(coarse, scale)
        for top, bottom in zip(pixels[0::2], pixels[1::2], strict=False):
            row = Text()
            for (r, g, b), (r2, g2, b2) in zip(top, bottom, strict=True):
                row.append("\u2580", f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})")
            console.print(row)
    places = regions(view.values, 3)
    if view.shared:  # pixels that carry what their whole part has are no parts of a sum
        places = places / regions(np.ones(view.values.shape), 3)
    if places.shape == (3, 3) and np.abs(places).max() > 0:
        y, x = divmod(int(np.argmax(places)), 3)
        across, down = ("left", "middle", "right")[x], ("top", "middle", "bottom")[y]
        where = "centre" if (x, y) == (1, 1) else f"{down} {across}"
        console.print(f"strongest ninth of the picture: {where} ({number(float(places[y, x]))})")
