"""Wording of errors: payloads too large, limits of a token, why Redis refuses a write."""

from collections.abc import Mapping
from dataclasses import dataclass

#: By the name of the limit; each takes `count`, what the token has, and `limit`.
QUOTAS: Mapping[str, str] = {
    "rate": "this token may put {limit} jobs a second; put again in {wait} s",
    "in_line": "the owner of this token has {count} waiting entries (limit: {limit}); put again "
    "when some have ended, or cancel some",
    "unread": "the owner of this token has {count} results in the sink (limit: {limit}); read "
    "them from the sink or delete their jobs",
    "input_share": "the owner of the token has {count} entries in the input queue, which is its "
    "share; put again when some have ended, or cancel some",
    "sink_share": "the owner of the token has {count} results in the sink, which is its share; "
    "read them from the sink or delete their jobs",
    "groups": "this queue has {count} groups of subscribers (limit: {limit}); use the same "
    "group name again, or close some watches",
    "users": "the owner of this token has {count} users in the groups of this queue "
    "(limit: {limit}); use the same user names again, or close some watches",
    "requests": "this token has {count} open requests at this process (limit: {limit}, "
    "PENSTOCK_MAX_REQUESTS_PER_TOKEN); end some watches, long polls or event streams first",
}


@dataclass(frozen=True, slots=True)
class UnreadResults:
    """Unread results that leave no room for another one.

    sentence: says so.  count: as far as the client may know.  next_ms: until the next of them
    expires; None is never.
    """

    sentence: str
    count: int
    next_ms: int | None


def too_big(size: int | None, limit: int, *, is_fixed: bool) -> str:
    """Return the sentence for a body above a limit.

    size: None when only the beginning has been read.  is_fixed: no setting changes the limit.
    """
    came = "more" if size is None else f"{size} bytes"
    if is_fixed:
        return f"expected a body of at most {limit} bytes, got {came}"
    return (
        f"expected a payload of at most {limit} bytes, got {came}; to raise the limit, use "
        "`penstock up --max-payload-kb`, PENSTOCK_MAX_PAYLOAD_KB in compose, or "
        "`max_payload_size_kb` of the queue in service.json"
    )


def what_helps(reason: str) -> str:
    """Return what to do about the reason that Redis gave, as a clause; "" when it is unknown."""
    word = reason.removeprefix("-").partition(" ")[0]
    if word == "MISCONF" or "No space left on device" in reason:
        return (
            ": Redis cannot write to its disk; free space where its data is (the data directory of "
            "local mode), and it recovers by itself"
        )
    # The Redis client removes this word from the text.
    if word == "OOM" or "used memory > 'maxmemory'" in reason:
        return ": Redis has reached its `maxmemory`; raise it, or let results be read or deleted"
    return ""
