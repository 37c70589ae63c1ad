"""Where a finished run goes: the terminal, JSON, a report, a picture, a file to load again."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enodo.cli.compared import print_compared
from enodo.cli.jsons import as_json
from enodo.cli.run import Run
from enodo.cli.terminal import print_run
from enodo.core.errors import refuse
from enodo.show.html import short
from enodo.show.page import counted, report, shared


def write(run: Run, files: Sequence[Path], json: bool, quiet: bool = False) -> list[Path]:
    """Write every file asked for; print JSON or a summary (not if `quiet`) to standard output; the files written."""
    written = [made for path in files for made in _file(run, path)]
    if json:
        sys.stdout.write(_dump(run) + "\n")
    elif run.compared and not quiet:
        print_compared(run)
    elif not quiet:
        print_run(run, hint=not files)
    return written


def say_written(paths: Sequence[Path]) -> None:
    """Name the files written, on standard error."""
    for path in paths:
        sys.stderr.write(f"wrote {path}\n")


def _dump(run: Run) -> str:
    return jsons.dumps(as_json(run), ensure_ascii=False, allow_nan=False, indent=2, default=str)


def _file(run: Run, path: Path) -> list[Path]:
    try:
        return _written(run, path)
    except OSError as error:
        return refuse("--out", repr(str(path)), "a file that can be written", f"{error.strerror}.")


def _written(run: Run, path: Path) -> list[Path]:
    kind = path.suffix.lower()
    if kind == ".html":
        path.write_text(report(run.page), encoding="utf-8")
    elif kind == ".json":
        path.write_text(_dump(run) + "\n", encoding="utf-8")
    elif kind == ".safetensors":
        paths = (
            [path] if len(run.entries) == 1 else [path.with_stem(f"{path.stem}.{i}") for i, _ in enumerate(run.entries)]
        )
        for each, entry in zip(paths, run.entries, strict=True):
            entry.attribution.save(each)
        return paths
    else:
        _picture(run).savefig(path, dpi=150)
    return [path]


def _picture(run: Run) -> Any:
    """All methods side by side in one Figure, those of each answer in a row."""
    from matplotlib.figure import Figure

    from enodo.show import Words, plot, view_of
    from enodo.show.text import size_of

    page, sample = run.page, run.example.sample
    groups = [[e for e in run.entries if e.answer == name] for name in dict.fromkeys(e.answer for e in run.entries)]
    across, down = (len(groups[0]), len(groups)) if sample.kind == "image" else (1, len(run.entries))
    size = (4.8 * across + 0.2, 4.6 * down) if sample.kind == "image" else (9.0, 3.8 * down)
    if isinstance(view := view_of(run.entries[0].attribution, sample), Words):
        width, height = size_of(view)
        size = (width, height * down)
    axes = iter(Figure(figsize=size, layout="constrained").subplots(down, across, squeeze=False).flat)
    for entries in groups:
        limits = shared(page, entries) if run.one_scale else {}
        for entry in entries:
            shape = view_of(entry.attribution, sample).values.shape
            limit = limits.get(counted(page, entry), {}).get(shape)
            title = f"{entry.title}: {short(entry.answer)}" if entry.answer else entry.title
            figure = plot(entry.attribution, sample=sample, ax=next(axes), title=title, limit=limit)
    return figure
