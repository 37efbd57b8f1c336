"""The worker, its engines and their own process."""
