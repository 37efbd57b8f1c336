"""What the scripts reply becomes a type, once; nothing above the store reads words or index 0."""

from typing import Any

import pytest

from queue_service.store.outcomes import (
    Gone,
    IdTaken,
    NotStored,
    Refusal,
    Stored,
    Submitted,
    TooLate,
    read_put,
    read_submitted,
    time_or_none,
)
from queue_service.store.putter import QuotaReached


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ([b"7", b"id"], Stored(7, "id")),
        ([b"7", b"owner\x1eid"], Stored(7, "id")),
        ([b"full"], NotStored(Refusal.FULL)),
        ([b"ended"], NotStored(Refusal.ENDED)),
        ([b"later"], NotStored(Refusal.BEGINS_LATER)),
        ([b"foreign"], NotStored(Refusal.FOREIGN)),
        ([b"quota", b"in_line", 3, -1], NotStored(QuotaReached("in_line", 3, None))),
        ([b"quota", b"rate", 0, 250], NotStored(QuotaReached("rate", 0, 250))),
    ],
)
def test_the_reply_of_a_put(reply: list[Any], outcome: Stored | NotStored) -> None:
    assert read_put(reply) == outcome


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ([b"new", b"owner\x1eid"], Submitted("owner\x1eid", is_new=True)),
        ([b"known", b"id"], Submitted("id", is_new=False)),
        ([b"conflict", b"owner\x1eid"], NotStored(IdTaken("id"))),
        ([b"full"], NotStored(Refusal.FULL)),
        ([b"ended"], NotStored(Refusal.ENDED)),
        ([b"late", b"start_by", b"12"], NotStored(TooLate("start_by", 12))),
        ([b"quota", b"unread", 5, -1], NotStored(QuotaReached("unread", 5, None))),
    ],
)
def test_the_reply_of_a_submission(reply: list[Any], outcome: Submitted | NotStored) -> None:
    assert read_submitted(reply) == outcome


def test_why_a_subscriber_is_gone_and_a_time_that_never_comes() -> None:
    assert [Gone(word) for word in (b"taken", b"lost")] == [Gone.TAKEN_OVER, Gone.LEASE_LOST]
    assert [time_or_none(reply) for reply in (-1, b"-1", 0, 5)] == [None, None, 0, 5]
