"""The sentences of a report: what a number counts, whether the parts add up, how sure the answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from enodo.core import tree as trees
from enodo.core.registry import methods
from enodo.show.scale import number

if TYPE_CHECKING:
    from enodo.core.result import Attribution

LOOSE = 0.05  # share of the score difference from which a completeness gap is called large


def is_signed(attribution: Attribution, values: np.ndarray) -> bool:
    """Whether the sign of a value means for or against."""
    card = methods().get(attribution.method)
    size = attribution.options.get("absolute") is True or (card is not None and "size" in card.claims)
    return not size or bool((values < 0).any())


def unit_of(attribution: Attribution, unit: str = "") -> str:
    """What an attribution counts. Contributions are in points of the score, or in the unit of a regression."""
    counted = unit or "points of score"
    known = {name: card for card in methods().values() for name in (card.name, *card.aliases)}
    for name in (attribution.options.get("inner"), attribution.method):
        card = known.get(name) if isinstance(name, str) else None
        counted = card.counts.replace("{}", counted) if card is not None else counted
    return counted


def scalar(value: Any, row: int = 0) -> float | None:
    """The entry of `row` of a tensor of scores or gaps, None where there is none or there are several targets."""
    if value is None or value.ndim > 1:
        return None
    return float(value.reshape(-1)[row])


def balance(attribution: Attribution, answer: str, baseline: str, unit: str = "", row: int = 0) -> str:
    """Whether the parts add up to the score difference, in plain words."""
    points = unit or "points"
    score, start, gap = (scalar(v, row) for v in (attribution.scores, attribution.baseline_scores, attribution.delta))
    if gap is None or score is None or start is None:
        return "This method does not promise that its parts add up to the score: read which stand out, not their sum."
    difference = score - start
    share = abs(gap) / abs(difference) if difference else float("inf") if gap else 0.0
    missing = share_of(gap, difference)
    other = baseline or "what it is compared with"
    told = (
        f"The score for {answer} is {number(score, False)} here and {number(start, False)} for {other}: "
        f"a difference of {number(difference)} {points}. The parts add up to {number(difference + gap)}; "
        f"{missing} of the difference is unaccounted for."
    )
    if share > LOOSE:
        more = "draw more samples" if "samples" in attribution.options else "take more steps"
        told += f" That is a large gap: {more} before you rely on details."
    return told


def share_of(gap: float, difference: float) -> str:
    """A completeness gap as a share of the difference of scores that it is missing from."""
    if not difference:
        return "all of it" if gap else "nothing"
    share = abs(gap) / abs(difference)
    return "less than 0.01%" if share < 1e-4 else f"{share:.2%}"


def rows_told(rows: int) -> str:
    """A number of rows."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def settled(attribution: Attribution, row: int = 0) -> str | None:
    """The estimated error that was reached, where an error was asked for."""
    error = scalar(attribution.error, row)
    return None if error is None else f"The attribution itself is settled to about {error:.2%}."


def noise(attribution: Attribution, row: int = 0) -> str | None:
    """How uncertain a typical value is, where the method draws samples."""
    if attribution.stderr is None:
        return None
    errors = [leaf[row].abs().double().mean() for _, leaf in trees.leaves(attribution.stderr) if hasattr(leaf, "abs")]
    sizes = [leaf[row].abs().double().mean() for _, leaf in trees.leaves(attribution.values) if hasattr(leaf, "abs")]
    error, size = (float(sum(part) / max(1, len(part))) for part in (errors, sizes))
    if size == 0 or error == 0:
        return None
    return (
        f"Drawn by chance: a typical value is {number(size, False)}, with a standard error of {number(error, False)}."
    )
