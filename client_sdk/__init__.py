"""The Penstock client: put work in, read results, watch, and run a worker's connection."""
