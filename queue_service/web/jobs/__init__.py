"""The jobs API: one request id in both queues, shown as one job."""
