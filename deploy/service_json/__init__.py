"""A service.json in the format of PAI EAS: its keys, what to do for it, a compose file of it."""
