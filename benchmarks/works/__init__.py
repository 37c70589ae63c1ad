"""All works, in the order of the table."""

from . import paths, relevance, small, smoothing

WORKS = {work.name: work for family in (paths, small, smoothing, relevance) for work in family.WORKS}
