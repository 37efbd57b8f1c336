"""A driver whose workers are processes of the test."""

import re
import socket
from collections.abc import Sequence

from deploy.autoscaling.driver import DriverFailed, Fleet, Leaver, Started
from tests.conftest import StartWorker
from tests.running import WorkerProcess
from tests.waiting import let_pass


class ProcessDriver:
    """Starts workers as processes of this test."""

    def __init__(self, start_worker: StartWorker, url: str, **settings: object) -> None:
        self.workers: list[WorkerProcess] = []
        self.most = 0
        self.broken = ""
        self.pause_s = 0.0
        self._service_of: dict[WorkerProcess, str] = {}
        self._start_worker = start_worker
        self._url = url
        self._settings = settings

    @property
    def running(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.running]

    async def look(self, service: str) -> Fleet:
        host = socket.gethostname()
        here = [worker for worker in self.running if self._service_of[worker] == service]
        return Fleet(tuple(Started(host, worker.pid) for worker in here))

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        if self.broken:
            raise DriverFailed(self.broken)
        await let_pass(self.pause_s)
        for _ in range(wanted - current):
            worker = await self._start_worker(self._url, service, wait=False, **self._settings)
            self.workers.append(worker)
            self._service_of[worker] = service
        self.most = max(self.most, len(self.running))

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Processes end by themselves."""

    async def close(self) -> None:
        """It has no connections."""

    def assert_nobody_was_hurt(self) -> None:
        """Show from the logs that no worker got a signal or a job for the second time."""
        for worker in self.workers:
            assert "SIG" not in worker.log, worker.log
            assert not re.search("attempt [2-9]", worker.log), worker.log
            assert worker.process is not None
            assert worker.process.returncode in (None, 0), worker.log
