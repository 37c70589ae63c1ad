"""All works, in the order of the table."""

from . import paths, small, smoothing

WORKS = {work.name: work for family in (paths, small, smoothing) for work in family.WORKS}
