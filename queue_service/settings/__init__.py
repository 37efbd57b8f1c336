"""Settings of the process and of services, with their defaults."""
