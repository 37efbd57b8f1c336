"""A queue in numbers, as attributes.lua returns it."""

import json
from collections.abc import Sequence
from typing import Any

from queue_service.store.entry import (
    DeadLetterSums,
    Departed,
    GroupState,
    QueueState,
    SubscriberState,
)
from queue_service.store.owners import owner_of, plain_name


def read_state(reply: Sequence[Any]) -> QueueState:
    """Read the reply of the script."""
    length, first, last, last_given = (int(number or 0) for number in reply[:4])
    return QueueState(
        length=length,
        first_index=first,
        last_index=last,
        last_given=last_given,
        dead_letters=DeadLetterSums(*map(int, reply[4])),
        now_ms=int(reply[5]),
        groups=tuple(
            GroupState(
                plain_name(gid.decode()),
                int(members),
                int(waiting),
                int(held),
                tuple(
                    Departed(plain_name(uid), left_at_ms, count)
                    for uid, left_at_ms, count in json.loads(departed)
                ),
                owner_of(gid.decode()),
            )
            for gid, members, waiting, held, departed in reply[6]
        ),
        subscribers=tuple(
            SubscriberState(
                plain_name(gid.decode()),
                plain_name(uid.decode()),
                int(window),
                int(held),
                connected == b"1",
                int(float(ends)),
                json.loads(about),
                owner_of(gid.decode()) or owner_of(uid.decode()),
                leaving == b"1",
            )
            for gid, uid, window, held, connected, ends, about, leaving in reply[7]
        ),
        ended=reply[8] == b"1",
        paused_at_ms=int(reply[9] or 0) or None,
    )
