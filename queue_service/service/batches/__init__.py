"""Batches: many requests in one file, run as jobs of the lowest priority."""
