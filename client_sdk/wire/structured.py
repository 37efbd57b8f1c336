"""Strings of structured fields (RFC 8941), for `Idempotency-Key`."""

import re

from client_sdk.wire.errors import WireError

_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')


def read_string(text: str) -> str:
    """Return the content of a quoted string; text without a quote is returned unchanged.

    Raises WireError for a string that is not closed or has an unknown escape.
    """
    text = text.strip(" \t")
    if not text.startswith('"'):
        return text
    match = _STRING.fullmatch(text)
    if match is None:
        raise WireError('a string such as "abc", with \\" and \\\\ as its only escapes', text)
    return _ESCAPE.sub(r"\1", match[1])
