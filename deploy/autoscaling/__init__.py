"""Autoscaling: how many workers a service needs, decided by pure functions."""
