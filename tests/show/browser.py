"""A real browser, where the machine has one: pages are opened as a reader would, and asked what became of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
).split()


def opened(page: str, folder: Path) -> str:
    """The document that a browser makes of a page, after its scripts have had a second to run."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)}")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [program, *QUIET, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=1000", "--dump-dom"]
    run = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-500:]
    return run.stdout


def title_of(document: str) -> str:
    found = re.search(r"<title>(.*?)</title>", document, re.S)
    assert found is not None
    return found[1]
