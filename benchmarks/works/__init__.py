"""All works, in the order of the table."""

from . import paths, relevance, shapley, small, smoothing, windows

WORKS = {work.name: work for family in (paths, small, smoothing, shapley, windows, relevance) for work in family.WORKS}
