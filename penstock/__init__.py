"""Penstock's public names: the client.

    from penstock import Client, AsyncClient, error_of
    from penstock.worker import BadInput, Context, Retryable

`Client` blocks, `AsyncClient` awaits; both have the same methods.  Every error is a `QueueError`.
This package only re-exports, so that your imports stay valid when our packages change.
"""

import client_sdk
from client_sdk import *  # noqa: F403
from client_sdk import AsyncQueueClient as AsyncClient
from client_sdk import QueueClient as Client

__all__ = ["AsyncClient", "Client"]
__all__ += client_sdk.__all__
