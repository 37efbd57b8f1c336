"""Announces this process in the registry; an announcement expires."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from importlib.metadata import PackageNotFoundError, version

from queue_service.errors import StoreError, StoreUnavailable
from queue_service.store.registry import Registry

log = logging.getLogger(__name__)

#: How long a process that stops tries to say so, in seconds.
LEAVE_S = 1.0


class Announcement:
    """Announces this process, again and again.

    lease_ms: after so much silence it is believed to be dead.
    """

    def __init__(self, registry: Registry, *, lease_ms: int) -> None:
        self._registry = registry
        self._lease_ms = lease_ms
        host, pid = socket.gethostname(), os.getpid()
        self.id = f"{host}-{pid}-{secrets.token_hex(4)}"
        self._about = {
            "host": host,
            "pid": pid,
            "version": _version(),
            "since_ms": int(time.time() * 1000),
        }

    async def run(self) -> None:
        """Announce this process until cancelled, then withdraw it."""
        try:
            while True:
                try:
                    await self._registry.announce(self.id, self._about, kept_ms=self._lease_ms)
                except (StoreUnavailable, StoreError) as error:
                    log.debug("This process was not announced: %s", error)
                await asyncio.sleep(self._lease_ms / 3000)
        finally:
            with contextlib.suppress(StoreUnavailable, StoreError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._registry.leave(self.id)


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("penstock")
    return ""
