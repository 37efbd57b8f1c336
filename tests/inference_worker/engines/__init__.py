"""Tests of `inference_worker/engines`."""
