"""The clients of PAI EAS, unchanged, against the queue service."""
