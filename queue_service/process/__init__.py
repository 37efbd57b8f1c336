"""This process: logs, metrics, open files, generated tokens."""
