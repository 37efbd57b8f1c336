"""Contents that describe themselves: every reader can check that one is whole and unchanged.

    <text>\n<bytes behind this line> <further numbers>\n<bytes that follow from the text>

The text says what it is: of which request, and of which attempt if it is a result.
"""

import hashlib
from pathlib import Path

#: The first two lines of a content have at most this many bytes.
HEAD_BYTES = 4096
#: What follows repeats a block of this many bytes; a prime, so that no cut between pages fits.
BLOCK_BYTES = 8191


def large(text: str, size_bytes: int, *numbers: int) -> bytes:
    """Return the content with this text, and this many bytes behind its head."""
    head = " ".join(map(str, (size_bytes, *numbers)))
    return f"{text}\n{head}\n".encode() + _body(text.encode(), size_bytes)


def text_of(data: bytes) -> str:
    """Return the text of a content, or a payload that is only text."""
    return data[:HEAD_BYTES].partition(b"\n")[0].decode(errors="replace")


def numbers_of(data: bytes) -> list[int]:
    """Return the further numbers of a content."""
    return [int(word) for word in data[:HEAD_BYTES].split(b"\n", 2)[1].split()[1:]]


def is_large(data: bytes) -> bool:
    """Say whether this is a content, or a part of one, and not only a text."""
    return b"\n" in data[:HEAD_BYTES]


def what_is_wrong(data: bytes) -> str:
    """Say what a content lacks; "" if it is exactly what was written."""
    text, _, rest = data.partition(b"\n")
    head, _, body = rest.partition(b"\n")
    words = head.split()
    if not words or not words[0].isdigit():
        return f"{len(data)} bytes are no content: {data[:40]!r}"
    if len(body) != int(words[0]):
        return f"{len(body)} bytes of {int(words[0])} of {text.decode(errors='replace')!r}"
    if body != _body(text, len(body)):
        return f"other bytes than those of {text.decode(errors='replace')!r}"
    return ""


def what_is_wrong_with(path: Path) -> str:
    """Say what a file lacks; "" if it is whole, or gone."""
    try:
        return what_is_wrong(path.read_bytes())
    except FileNotFoundError:
        return ""


def _body(text: bytes, size_bytes: int) -> bytes:
    block = hashlib.shake_128(text).digest(BLOCK_BYTES)
    return (block * (size_bytes // BLOCK_BYTES + 1))[:size_bytes]
