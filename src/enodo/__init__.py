"""enodo explains PyTorch models: which inputs, layers and neurons made a prediction what it is."""

from . import methods as _methods  # registers them
from .core.absence import Absence
from .core.errors import (
    BadArgument,
    BadType,
    EnodoError,
    NoPath,
    NotFinite,
    SamplingWarning,
    SettlingWarning,
    TrainModeWarning,
)
from .core.explain import ask, explain
from .core.features import Features
from .core.points import EMBEDDING, INPUT, OUTPUT, Point
from .core.question import Question
from .core.registry import Card, method, methods
from .core.result import Attribution
from .core.targets import Each
from .core.values import Values
from .methods.dataset import explain_dataset
from .rules import Coverage, audit
from .version import __version__

load = Attribution.load

del _methods

__all__ = [
    "EMBEDDING",
    "INPUT",
    "OUTPUT",
    "Absence",
    "Attribution",
    "BadArgument",
    "BadType",
    "Card",
    "Coverage",
    "Each",
    "EnodoError",
    "Features",
    "NoPath",
    "NotFinite",
    "Point",
    "Question",
    "SamplingWarning",
    "SettlingWarning",
    "TrainModeWarning",
    "Values",
    "__version__",
    "ask",
    "audit",
    "explain",
    "explain_dataset",
    "load",
    "method",
    "methods",
]
