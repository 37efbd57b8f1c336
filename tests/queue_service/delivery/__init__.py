"""Tests of `queue_service/delivery`."""
