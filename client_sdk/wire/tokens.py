"""Tokens that Penstock generates: the same strength wherever one is made."""

import secrets

#: Bytes of randomness: 192 bits cannot be guessed, and a line with the token in it still fits a
#: terminal of 80 columns.
TOKEN_BYTES = 24


def new_token() -> str:
    """Return a new token, of characters that URLs, headers and shells leave alone."""
    return secrets.token_urlsafe(TOKEN_BYTES)
