"""Tests of `deploy/service_json`."""
