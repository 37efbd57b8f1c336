"""Looks at the folder of the files: in a round at each content, and after it at what is left."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import contents
from tests.faults.cluster import PREFIX, Cluster
from tests.faults.event import What
from tests.faults.journal import Journal
from tests.waiting import let_pass

#: From one look at the folder to the next, in seconds.
LOOK_EVERY_S = 0.1
#: How many names a sentence has.
MOST_NAMES = 3


@dataclass(slots=True)
class FilesSeen:
    """What was seen of files.  met, missed: faults that met a file in transfer, and that did not.

    files, size_bytes: complete contents that were looked at.
    """

    met: int = 0
    missed: int = 0
    files: int = 0
    size_bytes: int = 0

    def add(self, other: "FilesSeen") -> None:
        """Add those of another round."""
        self.met += other.met
        self.missed += other.missed
        self.files += other.files
        self.size_bytes += other.size_bytes


class FileWatch:
    """Looks at each content as soon as it is complete, and notes one that is not whole."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.seen = FilesSeen()
        self._folder = folder / "complete"
        self._journal = journal
        self._known: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look inside the block."""
        looking = asyncio.create_task(self._look_for_ever())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await let_pass(LOOK_EVERY_S)

    def _look(self) -> None:
        for path in self._folder.rglob("*"):
            if path.name in self._known or not path.is_file():
                continue
            self._known.add(path.name)
            with contextlib.suppress(FileNotFoundError):
                self.seen.size_bytes += path.stat().st_size
                self.seen.files += 1
            if wrong := contents.what_is_wrong_with(path):
                code = f"in the complete file {path.name} {wrong}"
                self._journal.note(What.WRONG, code=code)


async def files_left(cluster: Cluster) -> str:
    """Sweep as an hour later, and say which files are left; "" for none."""
    arguments = (cluster.redis.url, PREFIX, str(cluster.files_dir))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.sweep_main", *arguments),
        cwd=cluster.shape.root,
        env=cluster.services[0].env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        return f"the sweep ended with {process.returncode}: {said.decode(errors='replace')[-300:]}"
    sentences = []
    for folder in (cluster.files_dir, cluster.job_files_dir):
        left = [path.name for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
        if left:
            names = ", ".join(left[:MOST_NAMES])
            sentences.append(f"{len(left)} files are left in {folder.name}: {names}")
    return "; ".join(sentences)
