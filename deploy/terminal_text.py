"""What models write, shown on a terminal: text that can do nothing there but be read."""

import re
import sys
from typing import TextIO

#: Control characters other than tab and line end, which steer a terminal; those that turn the
#: direction of the text around; and halves of surrogate pairs, which cannot be written.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: Where the pictures of the control characters begin.
_PICTURES = 0x2400


def harmless(text: str) -> str:
    """Return a text with pictures in place of control characters; a carriage return is dropped."""
    return _STEERING.sub(_picture, text)


def write_text(text: str, stream: TextIO | None = None) -> None:
    """Write a piece of text at once, as it is, or harmless where the stream is a terminal.

    stream: by default standard output.
    """
    stream = stream or sys.stdout
    shown = harmless(text) if stream.isatty() else text
    stream.flush()
    # In bytes, because an encoding that lacks a character is no reason to stop.
    stream.buffer.write(shown.encode(stream.encoding or "utf-8", "replace"))
    stream.buffer.flush()


def write_result(data: bytes) -> None:
    """Write a result to standard output: exactly its bytes, but text on a terminal."""
    if sys.stdout.isatty():
        text = data.decode(errors="replace")
        write_text(text if text.endswith("\n") else f"{text}\n")
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\r":
        return ""
    return chr(_PICTURES + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
