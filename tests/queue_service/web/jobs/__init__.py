"""The jobs face, against a real Redis and real workers."""
