"""Texts as people have them: strings in, words with what they contributed out."""

from enodo.text.classify import TextClassifierExplainer
from enodo.text.reading import Part, Reading
from enodo.text.recipe import XAI
from enodo.text.result import TextAttribution
from enodo.text.tasks import QuestionAnswerExplainer, Tag, TokenClassifierExplainer

__all__ = [
    "XAI",
    "Part",
    "QuestionAnswerExplainer",
    "Reading",
    "Tag",
    "TextAttribution",
    "TextClassifierExplainer",
    "TokenClassifierExplainer",
]
