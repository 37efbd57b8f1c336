"""`penstock run`: submit one job, wait for it, and print its result.

Exit codes: 0 done; 1 refused, or the job failed, expired or was canceled; 2 the command line is
wrong; 3 not in time; 4 no queue service answered; 130 Ctrl-C.
"""

import asyncio
import contextlib
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Self

import typer
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from client_sdk import AsyncQueueClient, calls
from client_sdk.errors import Gone, NoResult, QueueError
from client_sdk.plain_text import harmless
from deploy.commands import job_options
from deploy.commands.entries import read_data, read_pipe, read_tags
from deploy.commands.explained import Asked
from deploy.commands.job_following import cancel, follow
from deploy.commands.job_options import error_fields, output_fields
from deploy.commands.options import AsJsonLines, Data, Service, Token, Url
from deploy.commands.printing import note, note_console, say, say_json, write_payload
from deploy.commands.session import end_with, open_client, run_verb
from deploy.exit_codes import FAILED, INTERRUPTED, NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

#: Characters of a growing text that are kept for display.
MOST_SHOWN = 8000


def run(
    service: Service,
    data: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="The input; - or none reads standard input."),
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option(help="Read the input from this file.")] = None,
    tag: job_options.Tags = None,
    priority: job_options.Priority = 0,
    job_id: Annotated[
        str, typer.Option("--id", help="Its id; if the job exists, only wait for it.")
    ] = "",
    path: job_options.Path = "",
    content_type: job_options.ContentType = "",
    not_before: job_options.NotBefore = "",
    start_by: job_options.StartBy = "",
    finish_by: job_options.FinishBy = "",
    run_timeout: job_options.RunTimeout = "",
    max_attempts: job_options.MaxAttempts = None,
    retry_pause: job_options.RetryPause = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print its id and exit.")] = False,
    timeout: job_options.Seconds = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the result in the service; so does --id.")
    ] = False,
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the result to this file, and print no result."),
    ] = None,
) -> None:
    """Put a job, wait for it, and print its result; Ctrl-C cancels it."""
    body = _read_input(data, file)
    options: dict[str, Any] = {
        "tags": read_tags(tag or []),
        "priority": priority,
        "path": path,
        "content_type": content_type,
        "not_before": not_before,
        "start_by": start_by,
        "finish_by": finish_by,
        "run_timeout": run_timeout,
        "retry": job_options.retry_of(max_attempts, retry_pause),
    }
    keep = keep or bool(job_id)
    # Chosen here, so that Ctrl-C can cancel the job even while the submit is under way.
    job_id = job_id or str(uuid.uuid4())

    wanted = _Wanted(no_wait, timeout, keep, as_json, output)

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            await _run(client, job_id, body, options, wanted)

    run_verb(verb(), Asked(service, url, token, data_dir))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to do with a job; output: the file that gets its result."""

    no_wait: bool
    timeout_s: float | None
    keep: bool
    as_json: bool
    output: Path | None


async def _run(
    client: AsyncQueueClient,
    job_id: str,
    body: calls.Data,
    options: dict[str, Any],
    wanted: _Wanted,
) -> None:
    try:
        job = await client.jobs.submit(body, job_id=job_id, **options)
        if wanted.no_wait:
            say_json(job.data) if wanted.as_json else say(job.id)
            return
        await _wait(client, job_id, wanted)
    except asyncio.CancelledError:
        await _interrupted(client, job_id)


async def _wait(client: AsyncQueueClient, job_id: str, wanted: _Wanted) -> None:
    """Follow a job and print its result or error; then delete it, unless `keep`."""
    try:
        async with asyncio.timeout(wanted.timeout_s):
            with _JobView(job_id) as view:
                document = dict(await follow(client, job_id, view))
            data, error = await _result(client, job_id, wanted.output)
    except TimeoutError:
        later = f"the job goes on; the same command with --id {job_id} waits for it again"
        end_with(f"no result within {wanted.timeout_s:g} s; {later}", NOTHING_THERE)
    if wanted.as_json:
        fields = _fields(data) if error is None else error_fields(error)
        say_json(document | fields)
    elif isinstance(data, Path):
        note(f"the result is in {data}")
    elif error is None and data:
        write_payload(data)
    elif error is None:
        note("the job succeeded and stored no result")
    if not wanted.keep:
        # Nobody else knows its id, and a client that reads the sink should not find the result.
        with contextlib.suppress(QueueError):
            await client.jobs.delete(job_id)
    if error is not None:
        end_with(_why(str(document["state"]), error), FAILED)


async def _result(
    client: AsyncQueueClient, job_id: str, output: Path | None
) -> tuple[bytes | Path, QueueError | None]:
    try:
        if output is None:
            return await client.jobs.result(job_id), None
        return await client.jobs.result(job_id, to=output), None
    except (NoResult, Gone) as error:
        return b"", error
    except TimeoutError:
        raise
    except OSError as error:
        again = f"the same command with --id {job_id} writes it again"
        end_with(f"cannot write {output}: {error.strerror or error}; {again}", FAILED)


def _fields(data: bytes | Path) -> dict[str, Any]:
    return {"output_file": str(data)} if isinstance(data, Path) else output_fields(data)


def _why(state: str, error: QueueError) -> str:
    match state:
        case "failed":
            return f"the job failed: {error.sentence}"
        case "expired":
            return "the job has expired: it did not start, or did not finish, by its deadline"
        case "canceled":
            return "the job was canceled"
        case _:
            return error.sentence


async def _interrupted(client: AsyncQueueClient, job_id: str) -> None:
    """Handle Ctrl-C: cancel the job, and report the outcome."""
    note("interrupted: canceling the job; Ctrl-C again exits without waiting")
    note(await cancel(client, job_id))
    raise typer.Exit(INTERRUPTED)


def _read_input(data: str | None, file: Path | None) -> bytes | Path | BinaryIO:
    if data is None and file is None and not sys.stdin.isatty():
        body = read_pipe()
        if not body:
            raise typer.BadParameter(
                "expected an input: as an argument, with --file, or on standard input, which is "
                "empty; use - to submit an empty input"
            )
        return body
    return read_data(data or "", file)


class _JobView:
    """Shows a job on standard error while the command waits for it.

    A terminal shows its position and its text as they change; a file gets one line.
    """

    def __init__(self, job_id: str) -> None:
        self._console = note_console()
        self._status, self._text = "submitting", ""
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._drawn, console=self._console, transient=True, refresh_per_second=8
        )
        note(f"job {job_id}, waiting for the result")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def state(self, sentence: str) -> None:
        self._status = sentence

    def trouble(self, sentence: str) -> None:
        self._status = sentence
        if not self._console.is_terminal:
            note(sentence)

    def piece(self, text: str) -> None:
        self._text = (self._text + text)[-MOST_SHOWN:]

    def restart(self, text: str) -> None:
        self._text = text[-MOST_SHOWN:]

    def _drawn(self) -> Group:
        self._spinner.update(text=Text(harmless(self._status)))
        lines = Text(harmless(self._text)).wrap(self._console, self._console.width)
        return Group(*lines[-max(1, self._console.height - 3) :], self._spinner)
