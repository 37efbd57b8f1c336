"""`penstock map`: its input, its output, its progress."""
