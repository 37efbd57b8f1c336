"""The blocking jobs: every method is one line into `AsyncJobs`, whose documentation holds here."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from client_sdk import errors
from client_sdk.job_calls import Job, JobEvent
from client_sdk.job_retry import JobRetry
from client_sdk.jobs import AsyncJobs
from client_sdk.mapping import Failures, Item, MapOptions, Mapped, MapRun
from client_sdk.portal import Portal

T = TypeVar("T")


class Jobs:
    """The jobs of one service; every method is that of `AsyncJobs`, waited for."""

    def __init__(self, portal: Portal) -> None:
        """Made by QueueClient."""
        self._portal = portal

    def submit(
        self,
        data: bytes | str,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        job_id: str = "",
        path: str = "",
        content_type: str = "",
        not_before: str = "",
        start_by: str = "",
        finish_by: str = "",
        run_timeout: str = "",
        retry: JobRetry | Mapping[str, float] | None = None,
        events: bool = True,
    ) -> Job:
        """Put a job; retries never put it twice."""
        return self._portal.run(
            lambda client: client.jobs.submit(
                data,
                tags=tags,
                priority=priority,
                job_id=job_id,
                path=path,
                content_type=content_type,
                not_before=not_before,
                start_by=start_by,
                finish_by=finish_by,
                run_timeout=run_timeout,
                retry=retry,
                events=events,
            )
        )

    def get(self, job_id: str) -> Job:
        """Say where a job is."""
        return self._portal.run(lambda client: client.jobs.get(job_id))

    def run(
        self,
        data: bytes | str,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        job_id: str = "",
        path: str = "",
        content_type: str = "",
        not_before: str = "",
        start_by: str = "",
        finish_by: str = "",
        run_timeout: str = "",
        retry: JobRetry | Mapping[str, float] | None = None,
        events: bool = False,
        timeout_s: float | None = None,
        keep: bool = False,
    ) -> bytes:
        """Put a job, wait until it has ended, and return its result."""
        return self._portal.run(
            lambda client: client.jobs.run(
                data,
                tags=tags,
                priority=priority,
                job_id=job_id,
                path=path,
                content_type=content_type,
                not_before=not_before,
                start_by=start_by,
                finish_by=finish_by,
                run_timeout=run_timeout,
                retry=retry,
                events=events,
                timeout_s=timeout_s,
                keep=keep,
            )
        )

    def result(self, job_id: str, *, timeout_s: float | None = None) -> bytes:
        """Wait until a job has ended, and return its result, which stays in the service."""
        return self._portal.run(lambda client: client.jobs.result(job_id, timeout_s=timeout_s))

    def cancel(self, job_id: str, *, timeout_s: float = 0.0) -> Job:
        """Cancel a job; a running one stops when its worker says so."""
        return self._portal.run(lambda client: client.jobs.cancel(job_id, timeout_s=timeout_s))

    def delete(self, job_id: str) -> None:
        """Remove everything of a job that has ended or waits."""
        self._portal.run(lambda client: client.jobs.delete(job_id))

    def events(self, job_id: str, *, after: str = "") -> Iterator[JobEvent]:
        """Give the events of a job until its end, through broken connections."""
        return self._iterate(lambda jobs: jobs.events(job_id, after=after))

    def stream(self, job_id: str) -> Iterator[str]:
        """Give the pieces of a job's text as they come."""
        return self._iterate(lambda jobs: jobs.stream(job_id))

    def map(
        self,
        inputs: Iterable[Item],
        *,
        in_flight: int = 64,
        ordered: bool = False,
        failures: Failures = "raise",
        keep: bool = False,
        cancel: bool = True,
        patience_s: float = 600.0,
        run_id: str = "",
        options: Mapping[str, Any] | None = None,
        on_wait: Callable[[errors.QueueError], None] | None = None,
    ) -> Iterator[Mapped]:
        """Give what becomes of many inputs as it comes, each of which is a job.

        The inputs are taken in the caller's own thread, as far as there is room for them.
        """
        chosen = MapOptions(
            in_flight, ordered, failures, keep, cancel, patience_s, run_id, options or {}, on_wait
        )
        run = self._portal.run(lambda client: client.jobs._begin_map(chosen))
        try:
            for one in inputs:
                while run.is_ready or not run.has_room:
                    yield from self._handed(run)
                self._start(run, one)
            while run.is_open:
                yield from self._handed(run)
        finally:
            with contextlib.suppress(errors.Closed):
                self._portal.run(lambda client: run.close())

    def _start(self, run: MapRun, one: Item) -> None:
        self._portal.run(lambda client: run.start(one))

    def _handed(self, run: MapRun) -> Iterator[Mapped]:
        mapped = self._portal.run(lambda client: run.next())
        yield mapped
        self._portal.run(lambda client: run.settle(mapped))

    def _iterate(self, begin: Callable[[AsyncJobs], AsyncGenerator[T, None]]) -> Iterator[T]:
        made: list[AsyncGenerator[T, None]] = []

        async def first(jobs: AsyncJobs) -> T:
            made.append(begin(jobs))
            return await anext(made[0])

        try:
            try:
                yield self._portal.run(lambda client: first(client.jobs))
                while True:
                    yield self._portal.run(lambda client: anext(made[0]))
            except StopAsyncIteration:
                return
        finally:
            if made:
                self._portal.run(lambda client: made[0].aclose())
