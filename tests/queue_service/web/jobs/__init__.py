"""The jobs API, against a real Redis and real workers."""
