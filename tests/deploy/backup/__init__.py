"""Tests of `deploy/backup`."""
