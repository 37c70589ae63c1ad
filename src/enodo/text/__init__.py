"""Texts as people have them: strings in, words with what they contributed out."""

from enodo.text.classify import TextClassifierExplainer
from enodo.text.reading import Part, Reading
from enodo.text.result import TextAttribution

__all__ = ["Part", "Reading", "TextAttribution", "TextClassifierExplainer"]
