"""Tests of `deploy/commands`."""
