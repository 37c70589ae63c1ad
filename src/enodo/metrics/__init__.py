"""How far an attribution can be trusted: measures that stand beside a picture, none of them a verdict alone."""

from __future__ import annotations

from .agreement import Agreement, agreement, agreements
from .check import Check, Finding, agrees, carried, check, removed
from .removal import Curve, Curves, by_feature, curves, gap

__all__ = [
    "Agreement",
    "Check",
    "Curve",
    "Curves",
    "Finding",
    "agreement",
    "agreements",
    "agrees",
    "by_feature",
    "carried",
    "check",
    "curves",
    "gap",
    "removed",
]
