"""Benchmarks that anyone can run (`make bench`): ratios of one run, and no assertions."""
