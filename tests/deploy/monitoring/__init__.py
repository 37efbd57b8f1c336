"""Tests of the files for monitoring."""
