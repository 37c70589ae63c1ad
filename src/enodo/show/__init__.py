"""Pictures and pages of attributions. Everything here only reads an `Attribution`."""

from enodo.show.drawing import Drawing
from enodo.show.figures import plot
from enodo.show.publish import in_notebook, save, to_html
from enodo.show.sample import Sample
from enodo.show.tokens import Words
from enodo.show.view import Bars, Map, view_of

__all__ = ["Bars", "Drawing", "Map", "Sample", "Words", "in_notebook", "plot", "save", "to_html", "view_of"]
