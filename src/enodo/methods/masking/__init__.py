"""What the score says under masks that let part of every value through."""

from .indices import sobol
from .seen import rise

__all__ = ["rise", "sobol"]
