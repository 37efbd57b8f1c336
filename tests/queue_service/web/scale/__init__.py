"""Autoscaling: its figures, and the lease of the autoscaler."""
