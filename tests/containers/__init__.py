"""The compose file on a real engine."""
