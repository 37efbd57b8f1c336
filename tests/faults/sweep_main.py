"""Removes unneeded files from the folder and from its index, as if an hour had passed.

    python -m tests.faults.sweep_main <redis url> <key prefix> <folder>

It runs the product's own code while nothing is put, with a time at which each file has expired.
"""

import asyncio
import sys
from pathlib import Path

from queue_service.service.files import FileLimits, Files
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.file_folder import FileFolder
from queue_service.store.file_holders import FileHolders
from queue_service.store.file_index import FileIndex
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts

#: A time that no file of a run reaches, ms since 1970, and more files than a run leaves.
LATER_MS, MOST_FILES = 10**14, 100_000


async def _main(redis_url: str, prefix: str, folder: Path) -> None:
    settings = Settings(redis_url=redis_url)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    scripts = Scripts(servers, confirmation, timeout_s=30.0)

    def holders(name: str, incarnation: int) -> FileHolders:
        return FileHolders(scripts, Keys(prefix, name, incarnation))

    index = FileIndex(scripts, key_prefix=prefix)
    files = Files(index, FileFolder(folder, durable=False), FileLimits(2**30, 0, 0, 3600), holders)
    try:
        # What an entry names stays, however old it is.
        found = await index.expired(LATER_MS, count=MOST_FILES)
        await index.keep([file.id for file in found], 1)
        await files.expire()
        await files.sweep(left_over_s=-1)
    finally:
        await servers.aclose()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
