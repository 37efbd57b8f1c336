"""Which workers are connected, by their process ids, as any EAS client can read it."""

import re

from client_sdk import AsyncQueueClient


async def held_by_pid(client: AsyncQueueClient) -> dict[int, int]:
    """Return the process id of each connected worker and how many entries it holds.

    Read from the input queue's attributes: a line per subscriber, in which a worker's name has
    its process id in the middle and `Pending` is what it holds.
    """
    found: dict[int, int] = {}
    for key, line in (await client.attributes()).items():
        if key.startswith("consumers.list."):
            match = re.search(r"Id: \S*?-(\d+)-[0-9a-f]+,.*?Pending: (\d+)", line)
            if match and "Status: Running" in line:
                found[int(match[1])] = int(match[2])
    return found


async def ready_pids(client: AsyncQueueClient) -> set[int]:
    """Return the process ids of the connected workers that take jobs now.

    The window of a worker is 0 while its engine is away, and while it leaves.
    """
    found = set()
    for key, line in (await client.attributes()).items():
        if key.startswith("consumers.list."):
            match = re.search(r"Id: \S*?-(\d+)-[0-9a-f]+,.*?Window: (\d+)", line)
            if match and "Status: Running" in line and int(match[2]):
                found.add(int(match[1]))
    return found
