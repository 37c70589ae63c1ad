"""All works, in the order of the table."""

from . import paths, relevance, shapley, small, smoothing

WORKS = {work.name: work for family in (paths, small, smoothing, shapley, relevance) for work in family.WORKS}
