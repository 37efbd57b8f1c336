"""The EAS protocol."""
