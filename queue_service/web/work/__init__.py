"""The worker protocol."""
