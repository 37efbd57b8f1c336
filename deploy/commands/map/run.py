"""One run of `penstock map`: jobs in flight, outages, Ctrl-C and the summary."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from client_sdk import AsyncQueueClient, JobInput, Mapped
from client_sdk.backoff import Backoff
from client_sdk.errors import BadParameter, QueueError
from client_sdk.mapping import CANCELING_S, JobsApi, MapOptions, MapRun
from deploy.commands.many_progress import ManyProgress
from deploy.commands.printing import note_console, say_json
from deploy.exit_codes import FAILED

#: The connections of a client, which is its default.
CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of one run; you may change them when you resume."""

    in_flight: int
    ordered: bool
    keep: bool
    retry_failed: bool
    timeout_s: float


class Work(Protocol):
    """What is mapped, and where to."""

    @property
    def path(self) -> Path:
        """Where the results go."""

    @property
    def run_id(self) -> str:
        """What the ids of the jobs begin with."""

    @property
    def inputs(self) -> int:
        """How many inputs there are."""

    @property
    def done(self) -> int:
        """How many of them are done, failed ones among them."""

    @property
    def failed(self) -> int:
        """How many of these have failed."""

    def jobs(self, client: AsyncQueueClient) -> JobsApi:
        """Return how to submit an input and to fetch its result."""

    def to_do(self) -> Iterator[JobInput]:
        """Yield the inputs that are not done."""

    def write(self, mapped: Mapped) -> str:
        """Write a result, so that the next run finds it; return what to say of it, or ""."""

    def sync(self) -> None:
        """Wait until everything is on disk."""

    def last_ids(self) -> list[str]:
        """Return the ids of the jobs that were written last."""

    def failed_ids(self) -> Iterator[str]:
        """Yield the ids of the jobs that failed."""

    def drop_failed(self) -> None:
        """Forget what failed, so that it runs again."""

    def why_failed(self) -> str:
        """Say where to read why inputs failed."""


class Run:
    """One run of the command."""

    def __init__(
        self, client: AsyncQueueClient, work: Work, options: dict[str, Any], wanted: Wanted
    ) -> None:
        """options: of every job."""
        self._client = client
        self._work = work
        self._options = options
        self._wanted = wanted
        self._stopped_by: signal.Signals | None = None
        self._answered_at: float | None = None

    async def to_end(self, *, as_json: bool) -> None:
        """Map all inputs; exits with an error code if some failed or a signal stopped it."""
        work, console = self._work, note_console()
        if self._wanted.retry_failed and work.failed:
            await self._forget_failed()
        # A killed run may not have deleted the jobs that it wrote last.
        left = [] if self._wanted.keep else work.last_ids()
        progress = ManyProgress(work.inputs, done=work.done, failed=work.failed, console=console)
        with self._stoppable(progress):
            try:
                with progress:
                    await self._patiently(progress)
                    work.sync()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(CANCELING_S):
                            await self._delete(left)
            except asyncio.CancelledError:
                self._say_stopped(progress)
        self._say_ended(progress, as_json=as_json)

    async def _patiently(self, progress: ManyProgress) -> None:
        """Map to the end, through outages.

        The SDK waits for a service that has responded before.  A resumed run had a response
        earlier, so it waits from the start.  In a new run, an address that does not respond may be
        a wrong one.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff()
        if self._work.done:
            self._answered_at = loop.time()
        while True:
            try:
                return await self._to_the_end(progress)
            except QueueError as error:
                since = self._answered_at
                is_over = since is None or loop.time() - since > self._wanted.timeout_s
                if not error.transient or is_over:
                    raise
                progress.wait(error)
            await asyncio.sleep(backoff.next_delay_s())

    async def _to_the_end(self, progress: ManyProgress) -> None:
        work, wanted = self._work, self._wanted
        options = MapOptions(
            in_flight=wanted.in_flight,
            ordered=wanted.ordered,
            failures="return",
            keep=wanted.keep,
            # Open jobs continue when the command stops, so that the next run finds their results.
            cancel=False,
            patience_s=wanted.timeout_s,
            run_id=work.run_id,
            options=self._options,
            on_wait=progress.wait,
        )
        run = MapRun(work.jobs(self._client), options, connections=CONNECTIONS)
        async with contextlib.aclosing(run.over(work.to_do())) as mapped:
            async for one in mapped:
                self._answered_at = asyncio.get_running_loop().time()
                if isinstance(one.error, BadParameter):
                    # An option is wrong, and every job has the same options.
                    raise one.error
                # Write first: asking for the next result deletes the job of this one.
                said = work.write(one)
                progress.tell(work.done, work.failed)
                if said:
                    progress.say(said)

    async def _forget_failed(self) -> None:
        """Delete failed jobs: the service would otherwise return the old failure for their ids."""
        ids: list[str] = []
        for job_id in self._work.failed_ids():
            ids.append(job_id)
            if len(ids) == self._wanted.in_flight:
                await self._delete(ids)
                ids = []
        await self._delete(ids)
        self._work.drop_failed()

    async def _delete(self, ids: list[str]) -> None:
        async def delete(job_id: str) -> None:
            # Most are deleted already; what stays is removed when its retention ends.
            with contextlib.suppress(QueueError):
                await self._client.jobs.delete(job_id)

        await asyncio.gather(*(delete(job_id) for job_id in ids))

    @contextlib.contextmanager
    def _stoppable(self, progress: ManyProgress) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the run in order, and a second one end it at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        # `nohup` and scripts may start a program with Ctrl-C turned off; keep it off.
        before = {
            number: handler
            for number in (signal.SIGINT, signal.SIGTERM)
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }

        def stop(number: signal.Signals) -> None:
            self._stopped_by = number
            for each in before:
                loop.remove_signal_handler(each)
                signal.signal(each, lambda again, _: progress.leave(128 + again))
            task.cancel()

        for number in before:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _say_stopped(self, progress: ManyProgress) -> None:
        if self._stopped_by is None:
            raise asyncio.CancelledError
        self._work.sync()
        left = self._work.inputs - self._work.done
        progress.say(
            f"stopped: {self._work.done:,} of {self._work.inputs:,} are in "
            f"{self._work.path}. Up to {min(left, self._wanted.in_flight):,} open jobs continue; "
            "run the same command again to read their results and do the rest."
        )
        raise typer.Exit(128 + self._stopped_by)

    def _say_ended(self, progress: ManyProgress, *, as_json: bool) -> None:
        work = self._work
        progress.say(progress.end())
        if as_json:
            document = {
                "inputs": self._work.inputs,
                "succeeded": work.done - work.failed,
                "failed": work.failed,
                "seconds": round(progress.seconds, 3),
                "output": str(work.path),
                "run_id": work.run_id,
            }
            say_json(document)
        if work.failed:
            progress.say(
                f"{work.why_failed()}; run the same command with --retry-failed to submit them "
                "again"
            )
            raise typer.Exit(FAILED)
