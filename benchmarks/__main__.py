"""`python -m benchmarks [words]` runs the works whose names contain a word; without words all, writing RESULTS.md."""

from .harness import main

main()
