"""Stored text in a response header.

Workers choose error codes and tags.  A line break in one would end the header, so the library
refuses to write it and the client would get no response at all.
"""

import re
from urllib.parse import quote

#: What a header holds unambiguously: visible ASCII, with spaces only inside.
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
#: The longest text that is written, in characters.
MAX_TEXT = 1024


def header_text(text: str) -> str:
    """Return the text unchanged if a header can hold it, else percent-encoded as in a URL."""
    text = text[:MAX_TEXT]
    if _PLAIN.fullmatch(text):
        return text
    return quote(text.strip(" "), safe=_SAFE, errors="replace")


def header_json(json_text: str) -> str:
    """Return ASCII JSON for a header: JSON escapes every control character but DEL."""
    return json_text.replace("\x7f", "\\u007f")
