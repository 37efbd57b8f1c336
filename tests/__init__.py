"""Promises of Penstock, each shown against the real thing."""
