"""Write the table of methods in the README, made from the Cards: `python scripts/methods_table.py`."""

from __future__ import annotations

from pathlib import Path

import enodo

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- methods: written by scripts/methods_table.py -->\n", "<!-- end of methods -->\n"


def table() -> str:
    """A Markdown table with a line for each method."""
    lines = ["| method | when to use it | options | paper |", "|---|---|---|---|"]
    for name, card in sorted(enodo.methods().items()):
        names = ", ".join(f"`{n}`" for n in (name, *card.aliases))
        options = ", ".join(f"`{o}`" for o in card.options)
        lines.append(f"| {names} | {card.when} | {options} | {card.paper} |")
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """The README's text with a fresh table."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text("utf-8")), "utf-8")
