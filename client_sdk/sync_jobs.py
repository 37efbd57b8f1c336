"""Blocking jobs: every method calls the one of `AsyncJobs` with the same name; see there."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from client_sdk import errors
from client_sdk.calls import Data
from client_sdk.content import AnyPath
from client_sdk.job_calls import Artifact, Job, JobEvent, LogLine, SavedResult
from client_sdk.job_retry import JobRetry
from client_sdk.loop_thread import LoopThread
from client_sdk.mapping import Failures, Item, MapOptions, Mapped, MapRun


class Jobs:
    """The jobs of one service; the blocking version of `AsyncJobs`."""

    def __init__(self, thread: LoopThread) -> None:
        """QueueClient creates this object; do not create one yourself."""
        self._thread = thread

    def submit(
        self,
        data: Data,
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
        webhook: str = "",
        webhook_events: Sequence[str] = (),
        events: bool = True,
    ) -> Job:
        """Submit a job; retries never submit it twice."""
        return self._thread.run(
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
                webhook=webhook,
                webhook_events=webhook_events,
                events=events,
            )
        )

    def get(self, job_id: str) -> Job:
        """Return the current state of a job."""
        return self._thread.run(lambda client: client.jobs.get(job_id))

    def run(
        self,
        data: Data,
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
        webhook: str = "",
        webhook_events: Sequence[str] = (),
        events: bool = False,
        timeout_s: float | None = None,
        keep: bool = False,
    ) -> bytes:
        """Submit a job, wait until it has ended, and return its result."""
        return self._thread.run(
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
                webhook=webhook,
                webhook_events=webhook_events,
                events=events,
                timeout_s=timeout_s,
                keep=keep,
            )
        )

    @overload
    def result(self, job_id: str, *, timeout_s: float | None = None, to: None = None) -> bytes: ...

    @overload
    def result(self, job_id: str, *, timeout_s: float | None = None, to: AnyPath) -> Path: ...

    def result(
        self, job_id: str, *, timeout_s: float | None = None, to: AnyPath | None = None
    ) -> bytes | Path:
        """Wait until a job has ended, and return its result, which stays in the service."""
        if to is None:
            return self._thread.run(lambda client: client.jobs.result(job_id, timeout_s=timeout_s))
        return self._thread.run(
            lambda client: client.jobs.result(job_id, timeout_s=timeout_s, to=to)
        )

    def save_result(
        self, job_id: str, to: AnyPath, *, timeout_s: float | None = None
    ) -> SavedResult:
        """Wait until a job has ended, and write its result to a file."""
        return self._thread.run(
            lambda client: client.jobs.save_result(job_id, to, timeout_s=timeout_s)
        )

    def artifacts(self, job_id: str) -> list[Artifact]:
        """Return what a job has added so far with `ctx.artifact`."""
        return self._thread.run(lambda client: client.jobs.artifacts(job_id))

    def download_artifact(self, job_id: str, name: str, to: AnyPath) -> Path:
        """Write an artifact to the file `to`, in pieces, and return that path."""
        return self._thread.run(lambda client: client.jobs.download_artifact(job_id, name, to))

    def list(
        self,
        *,
        state: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        worker: str = "",
        since: str = "",
        until: str = "",
        limit: int = 0,
    ) -> Iterator[Job]:
        """Yield jobs, the newest first; those that run come before all others."""
        return self._thread.iterate(
            lambda client: client.jobs.list(
                state=state,
                tags=tags,
                owner=owner,
                worker=worker,
                since=since,
                until=until,
                limit=limit,
            )
        )

    def cancel(self, job_id: str, *, timeout_s: float = 0.0) -> Job:
        """Cancel a job; a running job ends as soon as its worker has stopped it."""
        return self._thread.run(lambda client: client.jobs.cancel(job_id, timeout_s=timeout_s))

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended or waits, with its data."""
        self._thread.run(lambda client: client.jobs.delete(job_id))

    def events(self, job_id: str, *, after: str = "") -> Iterator[JobEvent]:
        """Yield the events of a job until it ends, across broken connections."""
        return self._thread.iterate(lambda client: client.jobs.events(job_id, after=after))

    def logs(
        self, job_id: str, *, attempt: int = 0, tail: int = 0, follow: bool = False
    ) -> Iterator[LogLine]:
        """Yield the lines of a job's log: what its handler printed and logged, and tracebacks."""
        return self._thread.iterate(
            lambda client: client.jobs.logs(job_id, attempt=attempt, tail=tail, follow=follow)
        )

    def stream(self, job_id: str) -> Iterator[str]:
        """Yield the pieces of a job's text as they are generated."""
        return self._thread.iterate(lambda client: client.jobs.stream(job_id))

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
        """Submit a job for each of many inputs; yield the results as they arrive.

        The inputs are read in your own thread, at most `in_flight` ahead of the results.
        """
        chosen = MapOptions(
            in_flight, ordered, failures, keep, cancel, patience_s, run_id, options or {}, on_wait
        )
        run = self._thread.run(lambda client: client.jobs._begin_map(chosen))
        try:
            for one in inputs:
                while run.is_ready or not run.has_room:
                    yield from self._next_of(run)
                self._start(run, one)
            while run.is_open:
                yield from self._next_of(run)
        finally:
            with contextlib.suppress(errors.Closed):
                self._thread.run(lambda client: run.close())

    def _start(self, run: MapRun, one: Item) -> None:
        self._thread.run(lambda client: run.start(one))

    def _next_of(self, run: MapRun) -> Iterator[Mapped]:
        mapped = self._thread.run(lambda client: run.next())
        yield mapped
        self._thread.run(lambda client: run.settle(mapped))
