"""A queue service of a run: the product's own, which on SIGUSR2 writes down what it runs.

python -m tests.faults.service_main <file>
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from queue_service.__main__ import main as product_main


def write_tasks(path: Path) -> None:
    """Write how many asyncio tasks run, by the name of their coroutine."""
    names: Counter[str] = Counter()
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        names[getattr(coroutine, "__qualname__", repr(coroutine))] += 1
    part = path.with_suffix(".part")
    part.write_text(json.dumps(names))
    # In one step, so that nobody reads half of it.
    os.replace(part, path)


def main() -> int:
    """Run the product's `main` with one more signal."""
    path = Path(sys.argv.pop(1))

    def on_signal(_: int, __: FrameType | None) -> None:
        write_tasks(path)

    signal.signal(signal.SIGUSR2, on_signal)
    return product_main()


if __name__ == "__main__":
    sys.exit(main())
