"""The jobs face: one request id, seen over both queues as one job."""
