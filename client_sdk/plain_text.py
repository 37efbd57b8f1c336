"""Makes control characters visible in text that is shown or logged.

Commands and logs show text of clients and workers.  An escape sequence in it would control the
reader's terminal, and a line end would forge a log line.
"""

import re

#: Control characters other than tab and line end; line and paragraph separators; marks that change
#: the direction of text; unpaired surrogates, which cannot be encoded.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
#: The same, and tabs and line ends.
_NOT_IN_A_LINE = re.compile(_STEERING.pattern.replace("[", "[\t\n", 1))
#: The first of Unicode's symbols for control characters.
_PICTURES = 0x2400
#: The user and password of a URL: from its scheme to the last @ before the path.
_LOGIN = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s]*@")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def harmless(text: str) -> str:
    """Return a text with symbols in place of control characters; carriage returns are dropped."""
    return _STEERING.sub(_picture, text)


def one_line(text: str) -> str:
    r"""Return a text as one line: line ends, tabs and control characters as `\n`, `\t`, `\x1b`."""
    return _NOT_IN_A_LINE.sub(_escape, text)


def safe_json(document: str) -> str:
    r"""Return an equal JSON document in which such characters are escaped, as in `\u009b`."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def without_login(url: str) -> str:
    """Return a URL without a user and password."""
    return _LOGIN.sub(r"\1", url)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\r":
        return ""
    return chr(_PICTURES + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
