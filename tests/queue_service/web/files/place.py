"""A service that keeps files, for tests of payloads and results."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from client_sdk.wire import names

#: Above the inline limit, and not the same in any two parts.
LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(10_000))
SMALL = b"x" * 60_000
TAKE = {names.AUTO_DELETE: "true"}


@dataclass
class Place:
    """A service `svc`, and the folder of its files."""

    session: aiohttp.ClientSession
    url: str
    folder: Path
    redis: "Redis"
    prefix: str
    queue: str = field(init=False)

    def __post_init__(self) -> None:
        self.queue = f"{self.url}{names.EAS_PREFIX}/svc"

    async def ask(
        self, method: str, address: str, body: Any = None, **more: Any
    ) -> tuple[int, bytes, dict[str, str]]:
        async with self.session.request(method, address, data=body, **more) as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    async def is_empty(self) -> bool:
        return not self.stored()

    async def in_redis(self) -> int:
        """How many bytes the largest key of the service has."""
        sizes = [0]
        async for key in self.redis.scan_iter(match=f"{self.prefix}:*"):
            sizes.append(await self.redis.memory_usage(key, samples=0) or 0)
        return max(sizes)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]
