"""Tables of rules: what the gradient of each operation means to a method."""

from .audit import Coverage, audit
from .relu import DECONVOLUTION, GUIDED
from .rescale import RESCALE

__all__ = ["DECONVOLUTION", "GUIDED", "RESCALE", "Coverage", "audit"]
