"""`python -m benchmarks [words]` runs the works whose names contain a word (or all), and writes RESULTS.md."""

from .harness import main

main()
