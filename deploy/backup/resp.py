"""Commands in Redis's own protocol: how a backup keeps what was stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hiredis import pack_command

from deploy.backup.errors import BadBackup

#: The commands of a backup.  A restore runs no other.
ALLOWED = frozenset(
    {
        b"XADD",
        b"XDEL",
        b"XSETID",
        b"UNLINK",
        b"HSET",
        b"ZADD",
        b"SADD",
        b"RPUSH",
        b"SET",
        b"PEXPIREAT",
    }
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was read: the key that it writes, its words, and its bytes."""

    key: bytes
    words: tuple[bytes, ...]
    packed: bytes


def encode(words: Sequence[bytes | str | int]) -> bytes:
    """Write a command."""
    packed: bytes = pack_command(cast("Any", tuple(words)))
    return packed


def decode(data: bytes, *, prefix: bytes) -> Iterator[Command]:
    """Read commands; raises BadBackup for one that a backup of this key prefix does not have."""
    at = 0
    while (start := at) < len(data):
        count, at = _number(data, at, b"*")
        words = []
        for _ in range(count):
            size, at = _number(data, at, b"$")
            words.append(data[at : at + size])
            at += size + 2
        if at > len(data) or len(words) < 2:
            raise BadBackup("whole commands", "one that is cut off")
        # UNLINK takes several keys; a backup names one, which is checked.
        has_one_key = words[0] != b"UNLINK" or len(words) == 2
        is_of_backup = words[0] in ALLOWED and words[1].startswith(prefix + b":")
        if not (is_of_backup and has_one_key):
            raise BadBackup("commands of a backup", repr(b" ".join(words[:2])[:80]))
        yield Command(words[1], tuple(words), data[start:at])


def _number(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = data.find(b"\r\n", at)
    digits = data[at + 1 : end]
    if end < 0 or data[at : at + 1] != mark or not digits.isdigit() or len(digits) > 12:
        raise BadBackup("commands in Redis's protocol", repr(data[at : at + 20]))
    return int(digits), end + 2
