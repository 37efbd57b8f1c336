"""Two teams share a service: neither sees, changes or starves what the other has."""
