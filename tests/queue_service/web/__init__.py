"""Tests of `queue_service/web`."""
