"""Benchmarks: `make bench` runs all of them and rebuilds docs/benchmarks.md."""
