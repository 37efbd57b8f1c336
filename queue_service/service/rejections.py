"""Decides what follows a rejection that does not say so itself."""

import random
from dataclasses import replace

from client_sdk.wire import codes
from client_sdk.wire.failures import type_of_code
from client_sdk.wire.retry import AttemptPolicy
from queue_service.settings.retry import pauses_ms
from queue_service.store.entry import Rejected

#: These are no failures: the worker leaves, or was asked to stop.
_NO_FAILURE = (codes.SHUTDOWN, codes.CANCELED)


def decide(item: Rejected, policy: AttemptPolicy | None) -> Rejected:
    """Say of what type the failure is, and how the entry pauses, unless it says so itself.

    policy: the service's own; without one the entry goes out again at once, as with PAI EAS.
    """
    if item.type or item.code in _NO_FAILURE:
        return item
    failure = type_of_code(item.code)
    return replace(item, type=failure, pauses_ms=pauses_ms(policy, failure, draw=random.random()))
