"""Commands that a process of a run reads from its standard input."""

import asyncio
import sys
from collections.abc import Callable


async def listen(obey: Callable[[list[str]], None]) -> None:
    """Give each line of stdin, split into words, to `obey`; return at its end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        obey(line.decode().split())
