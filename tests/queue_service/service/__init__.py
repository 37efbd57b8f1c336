"""Tests of `queue_service/service`."""
