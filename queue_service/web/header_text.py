"""Stored text in a response header.

A worker chooses an error's code and a result's tags.  A line break there ends the header, so the
library refuses to write it and the client gets no answer at all.
"""

import re
from urllib.parse import quote

#: What a header may hold without being read as anything else: visible ASCII and spaces inside.
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
#: As much of it is written, in characters.
MAX_TEXT = 1024


def header_text(text: str) -> str:
    """The text as it is where it can stand in a header; otherwise percent-encoded as in a URL."""
    text = text[:MAX_TEXT]
    if _PLAIN.fullmatch(text):
        return text
    return quote(text.strip(" "), safe=_SAFE, errors="replace")


def header_json(json_text: str) -> str:
    """JSON of ASCII for a header: its own escapes leave out only DEL."""
    return json_text.replace("\x7f", "\\u007f")
