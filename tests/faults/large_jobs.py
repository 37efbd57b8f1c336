"""Jobs of a team whose payloads, results and artifacts are files; each is checked byte by byte."""

import asyncio
import random
import tempfile
from pathlib import Path

from client_sdk import AsyncQueueClient, errors
from tests.faults import contents
from tests.faults.event import What
from tests.faults.handler import WRONG
from tests.faults.journal import Journal

#: The share of jobs that are large, and the bytes of one: more than Redis stores, but few enough to
#: leave the machine time for everything else.
SHARE = 0.15
SIZES = (70_000, 300_000)
#: The most artifacts of one.
ARTIFACTS = 2
#: The code of a job whose file is gone; no job may have it.
FILE_LOST = "FileLost"


class LargeJobs:
    """Draws large jobs, and checks what comes back."""

    def __init__(self, journal: Journal, rng: random.Random) -> None:
        self._journal = journal
        self._random = rng
        #: The bytes of jobs that were asked for, and were not put yet.
        self._wanted: list[int] = []

    def want(self, count: int, size_bytes: int) -> None:
        """Let the next jobs have this size."""
        self._wanted += [size_bytes] * count

    def draw_size(self) -> int:
        """Return the bytes of the next job; 0 for a small one."""
        if self._wanted:
            return self._wanted.pop()
        return self._random.randint(*SIZES) if self._random.random() < SHARE else 0

    def payload(self, text: str, size_bytes: int) -> bytes:
        """Return the payload of a large job."""
        result_bytes = self._random.choice((0, size_bytes // 2, size_bytes))
        return contents.large(text, size_bytes, result_bytes, self._random.randint(0, ARTIFACTS))

    def note_error(self, name: str, error: errors.NoResult) -> None:
        """Look at why a job has no result."""
        if error.fields.get("reason") == FILE_LOST:
            self._note(name, f"that a file of {name} is lost")

    async def check(self, client: AsyncQueueClient, job_id: str, name: str, result: bytes) -> bool:
        """Look at a result and at the artifacts beside it; say whether the result is whole.

        Raises QueueError.
        """
        if result.startswith(WRONG):
            self._note(name, f"in its payload {result.removeprefix(WRONG).decode()}")
            return False
        if not contents.is_large(result):
            return True
        if wrong := contents.what_is_wrong(result):
            self._note(name, f"in its result {wrong}")
            return False
        (count,) = contents.numbers_of(result)
        expected = {f"part-{number}.bin" for number in range(count)}
        found = {artifact.name for artifact in await client.jobs.artifacts(job_id)}
        if found != expected:
            self._note(name, f"the artifacts {sorted(found)}, expected {sorted(expected)}")
        with tempfile.TemporaryDirectory(prefix="penstock-faults-") as folder:
            for artifact in sorted(found & expected):
                path = await client.jobs.download_artifact(job_id, artifact, Path(folder, artifact))
                if wrong := await asyncio.to_thread(contents.what_is_wrong_with, path):
                    self._note(name, f"in its artifact {artifact} {wrong}")
        return True

    def _note(self, name: str, code: str) -> None:
        self._journal.note(What.WRONG, name, code=code)
