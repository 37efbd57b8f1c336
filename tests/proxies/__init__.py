"""The example configurations of proxies, run in front of a real queue service."""
