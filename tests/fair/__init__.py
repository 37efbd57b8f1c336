"""The fair line and the limits of tokens."""
