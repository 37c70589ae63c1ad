"""Tables of rules: what the gradient of each operation means to a method."""

from enodo.core.operations import operation

from .audit import Coverage, audit
from .presets import FIRST, LAST, Composite
from .relu import DECONVOLUTION, GUIDED
from .rescale import RESCALE

__all__ = ["DECONVOLUTION", "FIRST", "GUIDED", "LAST", "RESCALE", "Composite", "Coverage", "audit", "operation"]
