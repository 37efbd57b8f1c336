"""A video to its frames: README.md."""
