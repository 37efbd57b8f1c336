"""`penstock map`: submit a job for each line of a file, and write a line for each result.

Exit codes: 0 all succeeded; 1 some failed, or refused; 2 the command line or the input is wrong;
4 no queue service answered; 130 Ctrl-C; 143 SIGTERM.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from client_sdk import AsyncQueueClient, JobInput, Mapped
from client_sdk.backoff import Backoff
from client_sdk.errors import BadParameter, QueueError, Refused
from deploy.commands import job_options
from deploy.commands.entries import read_tags
from deploy.commands.explained import Asked
from deploy.commands.job_options import error_fields, output_fields
from deploy.commands.many_progress import ManyProgress
from deploy.commands.map.input import MapInput
from deploy.commands.map.output import SUCCEEDED, MapAsked, MapOutput
from deploy.commands.options import AsJsonLines, Data, Token, Url
from deploy.commands.printing import note_console, say_json
from deploy.commands.session import exit_codes, open_client
from deploy.exit_codes import FAILED
from deploy.local.data_dir import DEFAULT_PATH, DataDir


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Options of one run; you may change them when you resume."""

    in_flight: int
    ordered: bool
    keep: bool
    retry_failed: bool
    timeout_s: float


def map_jobs(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SERVICE] IN OUT",
            help="IN has one JSON value per line; OUT gets a line for each, as jobs end. "
            "SERVICE is by default that of `penstock up`.",
        ),
    ],
    *,
    in_flight: Annotated[int, typer.Option(min=1, help="Maximum number of open jobs.")] = 64,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Write the results in the order of the input.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Submit the failed inputs again.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results in the service.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait while the service is unreachable or full.")
    ] = 600.0,
    tag: job_options.Tags = None,
    priority: job_options.Priority = 0,
    path: job_options.Path = "",
    content_type: job_options.ContentType = "",
    start_by: job_options.StartBy = "",
    finish_by: job_options.FinishBy = "",
    run_timeout: job_options.RunTimeout = "",
    max_attempts: job_options.MaxAttempts = None,
    retry_pause: job_options.RetryPause = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """Submit a job for each line of a file; the same command again resumes."""
    service, inputs, outputs = _checked_words(words, url, data_dir)
    options = {
        "tags": read_tags(tag or []) or None,
        "priority": priority or None,
        "path": path,
        "content_type": content_type,
        "start_by": start_by,
        "finish_by": finish_by,
        "run_timeout": run_timeout,
        "retry": job_options.retry_of(max_attempts, retry_pause),
    }
    given = {name: value for name, value in options.items() if value}
    wanted = _Wanted(in_flight, ordered, keep, retry_failed, timeout)

    with exit_codes(Asked(service, url, token, data_dir)):
        # Before the event loop starts, so that Ctrl-C interrupts the reading of a long file.
        checked = MapInput.check(inputs)
        asked = MapAsked.of(service, given, checked.file)
        with MapOutput.opened(outputs, asked) as output:

            async def verb() -> None:
                async with open_client(service, url, token, data_dir) as client:
                    await _Map(client, checked, output, given, wanted).run(as_json=as_json)

            asyncio.run(verb())


def _checked_words(words: list[str], url: str, data_dir: Path) -> tuple[str, Path, Path]:
    service, inputs, outputs = _service_and_files(words, url, data_dir)
    _check_paths(inputs, outputs)
    return service, inputs, outputs


def _service_and_files(words: list[str], url: str, data_dir: Path) -> tuple[str, Path, Path]:
    """Return the service, the input and the output."""
    match words:
        case [service, inputs, outputs]:
            return service, Path(inputs), Path(outputs)
        case [inputs, outputs] if not url:
            with exit_codes():
                return DataDir(data_dir).running().service, Path(inputs), Path(outputs)
        case [_, _]:
            raise typer.BadParameter("expected SERVICE IN OUT with --url, got two words")
    raise typer.BadParameter(f"expected [SERVICE] IN OUT, got {len(words)} words")


def _check_paths(inputs: Path, outputs: Path) -> None:
    for taken in (outputs, outputs.with_name(f"{outputs.name}.run")):
        if taken.exists() and inputs.exists() and taken.samefile(inputs):
            raise typer.BadParameter(f"expected two files, got {inputs} as input and output")
    if outputs.exists() and not outputs.is_file():
        raise typer.BadParameter(f"expected a file at {outputs}, found something else")


class _Map:
    """One run of the command."""

    def __init__(
        self,
        client: AsyncQueueClient,
        inputs: MapInput,
        output: MapOutput,
        options: dict[str, Any],
        wanted: _Wanted,
    ) -> None:
        self._client = client
        self._inputs = inputs
        self._output = output
        self._options = options
        self._wanted = wanted
        self._stopped_by: signal.Signals | None = None
        self._answered_at: float | None = None

    async def run(self, *, as_json: bool) -> None:
        """Map all inputs; exits with an error code if some failed or a signal stopped it."""
        output, console = self._output, note_console()
        if self._wanted.retry_failed and output.failed:
            await self._forget_failed()
        progress = ManyProgress(
            self._inputs.file.inputs, done=output.done, failed=output.failed, console=console
        )
        with self._stoppable(progress):
            try:
                with progress:
                    await self._patiently(progress)
                    output.sync()
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
        if self._output.done:
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
        output, wanted = self._output, self._wanted
        mapped = self._client.jobs.map(
            self._to_do(),
            in_flight=wanted.in_flight,
            ordered=wanted.ordered,
            failures="return",
            keep=wanted.keep,
            # Open jobs continue when the command stops, so that the next run finds their results.
            cancel=False,
            patience_s=wanted.timeout_s,
            options=self._options,
            on_wait=progress.wait,
        )
        async with contextlib.aclosing(mapped):
            async for one in mapped:
                self._answered_at = asyncio.get_running_loop().time()
                if isinstance(one.error, BadParameter):
                    # An option is wrong, and every job has the same options.
                    raise one.error
                # Write first: asking for the next result deletes the job of this one.
                output.write(output.number_of(one.job_id), _fields(one))
                progress.tell(output.done, output.failed)

    def _to_do(self) -> Iterator[JobInput]:
        for line in self._inputs:
            if not self._output.has(line.number):
                kind = {"content_type": line.content_type} if line.content_type else {}
                yield JobInput(
                    line.data,
                    id=self._output.job_id(line.number),
                    options={**kind, **self._options},
                )

    async def _forget_failed(self) -> None:
        """Delete failed jobs: the service would otherwise return the old failure for their ids."""
        ids: list[str] = []
        for job_id in self._output.failed_ids():
            ids.append(job_id)
            if len(ids) == self._wanted.in_flight:
                await self._delete(ids)
                ids = []
        await self._delete(ids)
        self._output.drop_failed()

    async def _delete(self, ids: list[str]) -> None:
        async def delete(job_id: str) -> None:
            # Most were deleted when they failed.
            with contextlib.suppress(Refused):
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
        self._output.sync()
        left = self._inputs.file.inputs - self._output.done
        progress.say(
            f"stopped: {self._output.done:,} of {self._inputs.file.inputs:,} are in "
            f"{self._output.path}. Up to {min(left, self._wanted.in_flight):,} open jobs continue; "
            "run the same command again to read their results and do the rest."
        )
        raise typer.Exit(128 + self._stopped_by)

    def _say_ended(self, progress: ManyProgress, *, as_json: bool) -> None:
        output = self._output
        progress.say(progress.end())
        if as_json:
            document = {
                "inputs": self._inputs.file.inputs,
                "succeeded": output.done - output.failed,
                "failed": output.failed,
                "seconds": round(progress.seconds, 3),
                "output": str(output.path),
                "run_id": output.run_id,
            }
            say_json(document)
        if output.failed:
            progress.say(
                f"failed inputs have an `error` in {output.path}; run the same command with "
                "--retry-failed to submit them again"
            )
            raise typer.Exit(FAILED)


def _fields(mapped: Mapped) -> dict[str, Any]:
    if mapped.error is not None:
        return error_fields(mapped.error)
    return {"state": SUCCEEDED, **output_fields(mapped.data)}
