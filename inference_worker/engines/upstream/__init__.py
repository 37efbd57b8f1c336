"""The engine `http`: sends jobs to any HTTP server, which the worker can start."""
