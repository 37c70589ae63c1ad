"""All works, in the order of the table."""

from . import ablation, deeplift, paths, relevance, shapley, small, smoothing, windows

WORKS = {
    work.name: work
    for family in (paths, small, smoothing, shapley, relevance, deeplift, ablation, windows)
    for work in family.WORKS
}
