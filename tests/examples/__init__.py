"""Every example, as its page says that it is run."""
