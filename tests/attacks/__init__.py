"""What strangers and broken clients do to a queue service, and what it costs the others."""
