"""The console: the page at `/` on which operators see and change services, and its files."""
