"""The contract between clients, the queue service and workers: shapes and names, no I/O."""
