"""Models and data by name, for the command line and the demonstration."""

from enodo.io.registry import SUBJECTS, load_subject
from enodo.io.subject import Example, Reference, Subject

__all__ = ["SUBJECTS", "Example", "Reference", "Subject", "load_subject"]
