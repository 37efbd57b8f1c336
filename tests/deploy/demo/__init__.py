"""Tests of `deploy/demo`."""
