"""A photo to a poster: README.md."""
