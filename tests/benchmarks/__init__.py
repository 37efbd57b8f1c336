"""Benchmarks that anyone can run: `make bench`.  They print ratios of one run, and assert nothing."""
