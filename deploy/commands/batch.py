"""`penstock batch submit`, `status`, `list`, `cancel` and `get`: many requests at once.

Exit codes: 0 done; 1 refused, or with `--wait`, a line was not answered; 2 the command line or a
line of the file is wrong; 3 not in time; 4 no queue service answered, or none runs here; 130
Ctrl-C.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from client_sdk import AsyncQueueClient, BatchInfo
from client_sdk.batch_download import is_result_of
from client_sdk.errors import NotInTime
from deploy.commands.entries import read_tags
from deploy.commands.explained import Asked
from deploy.commands.json_lines import JsonLines
from deploy.commands.many_progress import ManyProgress
from deploy.commands.options import AsJson, AsJsonLines, Data, Token, Url
from deploy.commands.printing import cells, new_table, note, note_console, say, say_json, show_parts
from deploy.commands.session import end_with, exit_codes, open_client, run_verb
from deploy.commands.transfers import shown_transfer
from deploy.errors import penstock
from deploy.exit_codes import FAILED, INTERRUPTED, NOTHING_THERE
from deploy.local.data_dir import DEFAULT_PATH

batch = typer.Typer(
    help="Many requests in one file, answered when nothing else waits.", no_args_is_help=True
)

Service = Annotated[
    str, typer.Option(help="In local mode: use the token of this service; default: the first.")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The batch's id, as `list` shows it.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the end; Ctrl-C leaves the batch running.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0, help="With --wait: seconds to wait; by default, no limit.")
]


@batch.command()
def submit(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="One request per line, in OpenAI's format; - reads standard input.",
        ),
    ],
    *,
    endpoint: Annotated[str, typer.Option(help="The `url` of every line.")] = (
        "/v1/chat/completions"
    ),
    window: Annotated[
        str, typer.Option(help="How long it may take, from 1s to 30d; then the rest expires.")
    ] = "24h",
    metadata: Annotated[
        list[str] | None, typer.Option(help="A text of your own, as key=value; repeatable.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Upload a file of requests, make a batch of it, and print its id."""
    texts = read_tags(metadata or [])
    is_piped = str(path) == "-"
    with exit_codes():
        # As `map` does: a mistake in the last line is found before anything is sent.
        if not is_piped:
            JsonLines.check(path)

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            with (
                _interruptible("nothing was submitted, unless `penstock batch list` shows it"),
                shown_transfer(path.name) as on_progress,
            ):
                made = await client.batches.create(
                    sys.stdin.buffer if is_piped else path,
                    endpoint=endpoint,
                    completion_window=window,
                    metadata=texts,
                    on_progress=on_progress,
                )
            if not as_json:
                say(made.id)
            if wait:
                made = await _end(client, made, timeout)
        if as_json:
            say_json(made.data)
        if wait:
            _exit_with(made, is_shown=as_json)

    run_verb(verb(), Asked(service, url, token, data_dir))


@batch.command()
def status(
    batch_id: Id,
    *,
    wait: Wait = False,
    timeout: Timeout = None,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a batch."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            found = await client.batches.get(batch_id)
            if wait:
                found = await _end(client, found, timeout)
        if as_json:
            say_json(found.data)
        else:
            for line in _described(found):
                say(line)
        if wait:
            _exit_with(found, is_shown=True)

    run_verb(verb(), Asked(service, url, token, data_dir))


@batch.command("list")
def list_batches(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 20,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJsonLines = False,
) -> None:
    """List your batches, the newest first."""

    async def verb() -> None:
        found: list[BatchInfo] = []
        async with (
            open_client(service, url, token, data_dir) as client,
            aclosing(client.batches.list()) as batches,
        ):
            async for one in batches:
                found.append(one)
                if len(found) == limit:
                    break
        if as_json:
            for one in found:
                say_json(one.data)
            return
        table = new_table("id", "status", "done", "failed")
        for one in found:
            done = f"{one.completed + one.failed:,} of {one.total:,}"
            table.add_row(*cells(one.id, one.status, done, f"{one.failed:,}"))
        if found:
            show_parts(table)

    run_verb(verb(), Asked(service, url, token, data_dir))


@batch.command()
def cancel(
    batch_id: Id,
    *,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
    as_json: AsJson = False,
) -> None:
    """Cancel a batch; its answers so far stay."""

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            found = await client.batches.cancel(batch_id)
        if as_json:
            say_json(found.data)
        else:
            say(_sentence(found))

    run_verb(verb(), Asked(service, url, token, data_dir))


@batch.command()
def get(
    batch_id: Id,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file, by default ID.jsonl, or ID.errors.jsonl; - prints answers and errors.",
        ),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Download the errors of failed lines instead.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With -o -: continue until the batch ends.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file with other content.")
    ] = False,
    service: Service = "",
    url: Url = "",
    token: Token = "",
    data_dir: Data = DEFAULT_PATH,
) -> None:
    """Download the results so far, also while the batch runs; run it again to resume."""
    is_printed = str(output) == "-"
    if follow and not is_printed:
        raise typer.BadParameter("--follow needs -o -")

    async def verb() -> None:
        async with open_client(service, url, token, data_dir) as client:
            with _interruptible("run the same command again to go on"):
                if is_printed:
                    await _print_results(client, batch_id, follow=follow, only_errors=errors)
                else:
                    await _download(client, batch_id, output, errors=errors, force=force)

    run_verb(verb(), Asked(service, url, token, data_dir))


async def _print_results(
    client: AsyncQueueClient, batch_id: str, *, follow: bool, only_errors: bool
) -> None:
    async with aclosing(client.batches.results(batch_id, follow=follow)) as results:
        async for result in results:
            if not (only_errors and result.succeeded):
                say_json(result.data)


async def _download(
    client: AsyncQueueClient, batch_id: str, output: Path | None, *, errors: bool, force: bool
) -> None:
    found = await client.batches.get(batch_id)
    target = output or Path(f"{found.id}{'.errors' if errors else ''}.jsonl")
    if not force and target.exists() and not is_result_of(found.id, target, of_errors=errors):
        raise typer.BadParameter(f"{target} has other content; --force replaces it")
    try:
        with shown_transfer(target.name) as on_progress:
            await client.batches.download(found.id, target, errors=errors, on_progress=on_progress)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {target}: {error.strerror or error}") from error
    say(target)
    if not found.has_ended:
        note(f"{_sentence(found)}; run the same command again for the rest")
    elif found.failed and not errors:
        note(f"{found.failed:,} lines failed; --errors downloads why")


async def _end(client: AsyncQueueClient, found: BatchInfo, timeout_s: float | None) -> BatchInfo:
    """Wait for the end of a batch, with a bar on a terminal."""
    progress = ManyProgress(found.total, done=0, failed=0, console=note_console())
    # A line for each command, so that a narrow terminal does not break it.
    later = (
        f"the batch goes on. To wait again, or to cancel it:\n"
        f"  {penstock()} batch status {found.id} --wait\n"
        f"  {penstock()} batch cancel {found.id}"
    )

    def show(now: BatchInfo) -> None:
        progress.tell(now.completed + now.failed, now.failed, total=now.total)

    try:
        with _interruptible(later), progress:
            return await client.batches.wait(
                found.id, timeout_s=timeout_s, on_progress=show, on_wait=progress.wait
            )
    except NotInTime:
        end_with(f"not within {timeout_s:g} s; {later}", NOTHING_THERE)


@contextmanager
def _interruptible(sentence: str) -> Iterator[None]:
    """Say what Ctrl-C means, and exit with its code."""
    try:
        yield
    except asyncio.CancelledError:
        note(f"interrupted; {sentence}")
        raise typer.Exit(INTERRUPTED) from None


def _exit_with(found: BatchInfo, *, is_shown: bool) -> None:
    """Exit with an error unless every line of a batch was answered.

    is_shown: whether standard output says how it has ended; otherwise, say it.
    """
    has_succeeded = found.status == "completed" and not found.failed
    if not is_shown:
        for problem in found.problems:
            note(problem)
        note(_sentence(found), colour=None if has_succeeded else typer.colors.RED)
    if has_succeeded:
        return
    if found.error_file_id:
        note(f"why lines failed: {penstock()} batch get {found.id} --errors")
    raise typer.Exit(FAILED)


def _sentence(found: BatchInfo) -> str:
    failed = f", {found.failed:,} failed" if found.failed else ""
    return f"{found.status}: {found.completed:,} of {found.total:,} answered{failed}"


def _described(found: BatchInfo) -> Iterator[str]:
    usage = found.data.get("usage") or {}
    rows = {
        "id": found.id,
        "status": found.status,
        "endpoint": found.endpoint,
        "model": found.data.get("model") or "",
        "answered": f"{found.completed:,} of {found.total:,}",
        "failed": f"{found.failed:,}",
        "tokens": f"{usage.get('input_tokens', 0):,} in, {usage.get('output_tokens', 0):,} out",
        "created": _date(found.created_at),
        "expires": "" if found.has_ended else _date(found.expires_at),
        "answers": found.output_file_id,
        "errors": found.error_file_id,
    }
    for name, value in rows.items():
        if value:
            yield f"{name + ':':<10}{value}"
    yield from found.problems


def _date(at_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
