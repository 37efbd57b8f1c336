"""The examples, as a user starts them."""
