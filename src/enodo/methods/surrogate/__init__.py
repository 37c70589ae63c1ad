"""Simple models fitted to a model around an input."""

from .lime import lime

__all__ = ["lime"]
