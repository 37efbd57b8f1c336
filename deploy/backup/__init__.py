"""Backups: one file with everything that a queue service has stored."""
