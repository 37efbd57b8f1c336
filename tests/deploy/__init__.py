"""Local mode, the command line and the demo."""
