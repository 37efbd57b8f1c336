"""Tests of `deploy/autoscaling`."""
