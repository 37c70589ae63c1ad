"""Captum's interface, answered by this library: write `from enodo.captum.attr import IntegratedGradients`.

Names, signatures, defaults and shapes are those of Captum `__version__`; each deliberate difference is listed in the
documentation, "Differences from Captum". `install()` lets scripts keep their `import captum`.
"""

from enodo.captum import attr
from enodo.captum._install import install, uninstall

__version__ = "0.9.0"  # of the interface

__all__ = ["attr", "install", "uninstall"]
