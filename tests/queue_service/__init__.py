"""Promises of the queue service."""
