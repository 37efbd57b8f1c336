"""The GPUs of a worker, on machines whose GPUs are stubs."""
