"""Tests of `queue_service/settings`."""
