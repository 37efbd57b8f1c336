"""The engine `http`: any HTTP server beside the worker, started by it when told so."""
