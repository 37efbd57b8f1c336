"""The engines, and their common interface."""
