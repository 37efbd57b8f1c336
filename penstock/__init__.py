"""Penstock's public names: the client.

    from penstock import Client, AsyncClient, error_of
    from penstock import WorkConnection
    from penstock.worker import BadInput, Context, Retryable

`Client` blocks, `AsyncClient` awaits; both have the same methods.  Every error is a `QueueError`.
`WorkConnection` is for a worker of your own.
This package only re-exports, so that your imports stay valid when our packages change.
"""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from typing import TYPE_CHECKING

import client_sdk

#: Our names for what the SDK calls otherwise.
_RENAMED = {"AsyncClient": "AsyncQueueClient", "Client": "QueueClient"}

if TYPE_CHECKING:
    from client_sdk import *  # noqa: F403
    from client_sdk import AsyncQueueClient as AsyncClient
    from client_sdk import QueueClient as Client
else:

    def __getattr__(name):
        # The SDK imports its HTTP client only when a name that needs it is used; so do we.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(client_sdk, _RENAMED.get(name, name))
        globals()[name] = found
        return found


__all__ = ["AsyncClient", "Client"]
__all__ += client_sdk.__all__
