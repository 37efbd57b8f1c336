"""Strings of structured fields (RFC 8941), as `Idempotency-Key` has them."""

import re

from client_sdk.wire.errors import WireError

_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')


def read_string(text: str) -> str:
    """Return what a quoted string says; text without a quote in front is taken as it is.

    Raises WireError for a string that is not closed, or has an escape that does not exist.
    """
    text = text.strip(" \t")
    if not text.startswith('"'):
        return text
    match = _STRING.fullmatch(text)
    if match is None:
        raise WireError('a string such as "abc", in which \\" and \\\\ stand for themselves', text)
    return _ESCAPE.sub(r"\1", match[1])
