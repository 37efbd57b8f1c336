"""The GPUs of a worker: which there are, which are free, and which it holds."""
