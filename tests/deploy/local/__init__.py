"""Tests of `deploy/local`."""
