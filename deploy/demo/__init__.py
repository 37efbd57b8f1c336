"""The demo: a small language model that knows the FAQ about Penstock by heart, and its run."""
