"""All works, in the order of the table."""

from . import ablation, deeplift, paths, relevance, shapley, small, smoothing

WORKS = {
    work.name: work
    for family in (paths, small, smoothing, shapley, relevance, deeplift, ablation)
    for work in family.WORKS
}
