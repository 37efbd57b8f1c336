"""A small chat page: three files, served as they are, without a build step."""
