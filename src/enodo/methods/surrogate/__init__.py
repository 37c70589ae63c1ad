"""Simple models fitted to a model around an input."""

from .local import lime

__all__ = ["lime"]
