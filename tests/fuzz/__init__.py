"""Generated input: requests, messages and bytes that nobody would write by hand.

`make fuzz` tries 20,000 of them; the ordinary tests a few hundred, always the same ones.
"""
