"""How far an attribution can be trusted: measures that stand beside a picture, none of them a verdict alone."""

from __future__ import annotations

from .agreement import Agreement, agreement, agreements
from .check import Check, Finding, check
from .removal import Curve, Curves, curves

__all__ = ["Agreement", "Check", "Curve", "Curves", "Finding", "agreement", "agreements", "check", "curves"]
