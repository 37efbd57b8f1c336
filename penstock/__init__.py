"""Penstock's public names: the client.

    from penstock import Client, AsyncClient, error_of
    from penstock.worker import BadInput, Context, Retryable

`Client` blocks, `AsyncClient` awaits; both have the same methods.  Every error is a `QueueError`.
This package only re-exports, so that your imports stay valid when our packages change.
"""

import sys

# `python -m` looks first in the folder in which it is started: a queue.py or a redis.py there would
# take the place of Python's and the library's.  Here, before anything else is imported, that folder
# goes to the end.  `python -P -m`, as local mode and the images call it, leaves it out.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import client_sdk
from client_sdk import *  # noqa: F403
from client_sdk import AsyncQueueClient as AsyncClient
from client_sdk import QueueClient as Client

__all__ = ["AsyncClient", "Client"]
__all__ += client_sdk.__all__
