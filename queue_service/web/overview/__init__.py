"""The overview API: what services do now, for people who watch."""
