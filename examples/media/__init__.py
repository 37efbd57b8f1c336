"""Models of pictures and sounds: README.md."""
