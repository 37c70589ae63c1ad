"""All works, in the order of the table."""

from . import ablation, paths, relevance, shapley, small, smoothing

WORKS = {work.name: work for family in (paths, small, smoothing, shapley, relevance, ablation) for work in family.WORKS}
