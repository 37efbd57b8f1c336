"""The blocking jobs: every method is one line into `AsyncJobs`, whose documentation holds here."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import TypeVar

from client_sdk.job_calls import Job, JobEvent
from client_sdk.jobs import AsyncJobs
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
                events=events,
            )
        )

    def get(self, job_id: str) -> Job:
        """Say where a job is."""
        return self._portal.run(lambda client: client.jobs.get(job_id))

    def result(self, job_id: str, *, timeout_s: float = 0.0) -> bytes | None:
        """Return a result and leave it where it is; None when it is not there in time."""
        return self._portal.run(lambda client: client.jobs.result(job_id, timeout_s=timeout_s))

    def cancel(self, job_id: str, *, wait_s: float = 0.0) -> Job:
        """Cancel a job; of one that runs the worker has the last word, for which to wait."""
        return self._portal.run(lambda client: client.jobs.cancel(job_id, wait_s=wait_s))

    def delete(self, job_id: str) -> None:
        """Remove everything of a job that has ended or waits."""
        self._portal.run(lambda client: client.jobs.delete(job_id))

    def events(self, job_id: str, *, after: str = "") -> Iterator[JobEvent]:
        """Give the events of a job until its end, through broken connections."""
        return self._iterate(lambda jobs: jobs.events(job_id, after=after))

    def stream(self, job_id: str) -> Iterator[str]:
        """Give the pieces of a job's text as they come."""
        return self._iterate(lambda jobs: jobs.stream(job_id))

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
