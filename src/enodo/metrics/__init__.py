"""How far an attribution can be trusted: measures that stand beside a picture, none of them a verdict alone."""

from __future__ import annotations

from .agreement import Agreement, agreement, agreements
from .removal import Curve, Curves, curves

__all__ = ["Agreement", "Curve", "Curves", "agreement", "agreements", "curves"]
