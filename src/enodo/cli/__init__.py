"""The command line: `enodo explain`, `compare`, `report`, `methods`, `models` and `inspect`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `enodo` command."""
    try:
        from enodo.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "PIL", "matplotlib", "tqdm"):
            raise
        sys.stderr.write(f"enodo: the command line needs {error.name}: pip install 'enodo[cli,show]'\n")
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
