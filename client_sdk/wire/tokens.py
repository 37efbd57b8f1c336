"""Tokens that Penstock generates; one place, so that all have the same strength."""

import secrets

#: Bytes of randomness: 192 bits cannot be guessed, and a line with such a token still fits into a
#: terminal of 80 columns.
TOKEN_BYTES = 24


def new_token() -> str:
    """Return a new token, of characters that need no escaping in URLs, headers and shells."""
    return secrets.token_urlsafe(TOKEN_BYTES)
